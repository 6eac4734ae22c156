//! The source of a guest: a component, or a core module for WASI 0.1.

use anyhow::Result;
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use keycell_guest_store::record::{Form, Kind};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload, TypeRef};

use super::imports::{self, CONTRACT};

/// A guest whose imports and exports are those of the contract.
pub struct Source {
    /// What it is to the engine.
    pub form: Form,
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
        let form = if Parser::is_component(bytes) {
            Form::Component
        } else if Parser::is_core_wasm(bytes) {
            Form::Module
        } else {
            let message = format!("`{shown}` is not WebAssembly");
            return Err(Diagnostic::new(message, ToolHint::NotWebAssembly).into());
        };
        let (imports, exports) = match form {
            Form::Component => edge(bytes),
            Form::Module => core_edge(bytes),
        }
        .map_err(malformed(shown))?;
        imports::all_granted(&imports, shown)?;
        let kind = match form {
            Form::Component => kind(&exports, shown)?,
            Form::Module => core_kind(&exports, shown)?,
        };
        let may = imports::in_words(&imports, kind);
        Ok(Self { form, kind, imports, may })
    }
}

/// The names of what a core module imports, and of the functions and memories that it exports.
fn core_edge(module: &[u8]) -> wasmparser::Result<(Vec<String>, Vec<String>)> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let what = match import.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => "",
                        _ => ", which is no function",
                    };
                    imports.push(format!("{}.{}{what}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if matches!(export.kind, ExternalKind::Func | ExternalKind::Memory) {
                        exports.push(export.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn core_kind(exports: &[String], shown: &str) -> Result<Kind> {
    for name in ["_start", "memory"] {
        if !exports.iter().any(|export| export == name) {
            return Err(no_guest(shown, &format!("it is a core module without `{name}`")));
        }
    }
    Ok(Kind::Command)
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

fn malformed(shown: &str) -> impl Fn(BinaryReaderError) -> Diagnostic {
    move |error| {
        let message = format!("`{shown}` is malformed WebAssembly: {}", error.message());
        Diagnostic::new(message, ToolHint::MalformedWebAssembly)
    }
}

fn no_guest(shown: &str, why: &str) -> anyhow::Error {
    let hint = ToolHint::NoGuest { contract: CONTRACT };
    Diagnostic::new(format!("`{shown}` is no guest: {why}"), hint).into()
}
