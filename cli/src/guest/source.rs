//! The file that a guest comes as: a component, or a core module that becomes one.

use anyhow::Result;
use keycell_guest_store::record::Kind;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASIP1,
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as ADAPTER,
};
use wasmparser::{BinaryReaderError, Parser, Payload};
use wit_component::ComponentEncoder;

use super::imports::{self, CONTRACT};
use crate::failure::Advice;

/// A guest that keeps the contract, as far as can be seen from outside.
pub struct Source {
    /// The component.
    pub component: Vec<u8>,
    /// What it was before.
    pub form: &'static str,
    /// How it is run.
    pub kind: Kind,
    /// What it imports, by name.
    pub imports: Vec<String>,
    /// What that lets it do, in words.
    pub may: Vec<String>,
}

impl Source {
    /// Looks at `bytes`, which messages call `shown`.
    ///
    /// # Errors
    /// What is no guest, and a guest that imports what none is granted.
    pub fn read(bytes: &[u8], shown: &str) -> Result<Self> {
        let (component, form) = if Parser::is_component(bytes) {
            (bytes.to_vec(), "component")
        } else if Parser::is_core_wasm(bytes) {
            (from_core(bytes, shown)?, "core module")
        } else {
            let hint = "a guest is a file `.wasm`: a component, or a core module for WASI 0.1; \
                what is compiled already, or is text, is not taken";
            return Err(Advice::new(format!("`{shown}` is not WebAssembly"), hint).into());
        };
        let (imports, exports) = edge(&component).map_err(malformed(shown))?;
        imports::all_granted(&imports, shown)?;
        let kind = kind(&exports, shown)?;
        let may = imports::in_words(&imports, kind);
        Ok(Self { component, form, kind, imports, may })
    }
}

/// A core module with what turns WASI 0.1 into 0.2.
fn from_core(bytes: &[u8], shown: &str) -> Result<Vec<u8>> {
    let (mut foreign, mut starts) = (Vec::new(), false);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed(shown))? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(malformed(shown))?;
                    // With a colon: an interface, which becomes an import of the component.
                    if import.module != WASIP1 && !import.module.contains(':') {
                        foreign.push(format!("{}.{}", import.module, import.name));
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export.map_err(malformed(shown))?.name;
                    starts |= name == "_start" || name.contains(':');
                }
            }
            _ => {}
        }
    }
    if !foreign.is_empty() {
        return Err(imports::refused(&foreign, shown));
    }
    if !starts {
        return Err(no_guest(shown, "it is a core module without `_start`"));
    }
    let encode = || {
        ComponentEncoder::default().module(bytes)?.adapter(WASIP1, ADAPTER)?.validate(true).encode()
    };
    encode().map_err(|error| {
        let hint = "a core module is a command for WASI 0.1 (`wasi_snapshot_preview1`), as \
            `--target wasm32-wasip1` or `clang --target=wasm32-wasi` make it";
        let why = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Advice::new(format!("`{shown}` does not become a component: {why}"), hint).into()
    })
}

/// The names of what a component imports and exports itself; what is inside it has its own.
fn edge(component: &[u8]) -> wasmparser::Result<(Vec<String>, Vec<String>)> {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn kind(exports: &[String], shown: &str) -> Result<Kind> {
    let steps = ["unwrapping", "decrypting"].map(|step| format!("keycell:decoder/{step}@"));
    let exported = |name: &str| exports.iter().find(|export| export.starts_with(name));
    match steps.each_ref().map(|step| exported(step)) {
        [Some(first), Some(second)] => {
            for step in [first, second] {
                if !imports::is_ours(step) {
                    return Err(no_guest(shown, &format!("it exports `{step}`")));
                }
            }
            Ok(Kind::Decoder)
        }
        [Some(_), None] | [None, Some(_)] => Err(no_guest(shown, "it exports one step of two")),
        [None, None] if exported("wasi:cli/run@0.2.").is_some() => Ok(Kind::Command),
        [None, None] => Err(no_guest(shown, "it exports neither the steps nor a command")),
    }
}

fn malformed(shown: &str) -> impl Fn(BinaryReaderError) -> Advice {
    move |error| {
        let hint = "it is cut off, or was damaged: build it or fetch it again";
        Advice::new(format!("`{shown}` is malformed WebAssembly: {}", error.message()), hint)
    }
}

fn no_guest(shown: &str, why: &str) -> anyhow::Error {
    let hint = format!(
        "a guest exports `unwrapping` and `decrypting` of `keycell:decoder@{CONTRACT}` \
         (`wit/decoder.wit`), or is a command with `wasi:cli/run@0.2` or `_start`"
    );
    Advice::new(format!("`{shown}` is no guest: {why}"), &hint).into()
}
