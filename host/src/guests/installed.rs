//! The guest that runs: the one that is embedded in this program, or one that an administrator has
//! installed.

use std::io;

use keycell_diagnostic::hint::DecoderHint;
use keycell_diagnostic::{Diagnostic, os_error};
use keycell_guest_store::record::{Form, Kind};
use keycell_guest_store::store::{self, EMBEDDED, Installed, Refusal, Store};
use keycell_settings::GuestSettings;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::report::failure::{Ending, ends_a_run};

use super::native_code::NativeCode;
use super::trap::GuestFailure;

/// A guest, ready to be loaded.
pub struct Guest {
    /// Its name in the store, or `embedded`.
    pub name: String,
    /// Whether it has the two steps, or is a command.
    pub kind: Kind,
    /// Whether it is a component or a core module.
    pub form: Form,
    native_code: NativeCode,
    /// The digest of the guest that it was compiled from.
    source: Option<String>,
    /// The command that compiles it again; `None` for the embedded guest.
    rebuild: Option<String>,
}

impl Guest {
    /// Chooses the guest that `settings` names, the store's default guest, or the embedded one.
    ///
    /// # Errors
    /// The guest does not exist, or it differs from what was installed: its owner, who can write to it,
    /// its digest or its engine. No other guest runs in its place.
    ///
    /// # Ambient Authority
    /// Opens the guest store with the rights of this process.
    pub fn choose(settings: &GuestSettings, embedded: NativeCode) -> Result<Self, Ending> {
        let chosen = store::chosen(settings.name.as_deref(), &settings.store).map_err(refused)?;
        let Some((store, installed)) = chosen else { return Ok(Self::embedded(embedded)) };
        if settings.require_signature && installed.record.signature.is_none() {
            let name = installed.record.name;
            let command = store
                .command("install --replace FILE --signature FILE --public-key KEY --name", &name);
            return Err(InstalledError::Unsigned { name, command }.into());
        }
        Self::read(&store, installed)
    }

    fn embedded(native_code: NativeCode) -> Self {
        let source = native_code.digest().map(str::to_owned);
        let (kind, form) = (Kind::Decoder, Form::Component);
        Self { name: EMBEDDED.to_owned(), kind, form, native_code, source, rebuild: None }
    }

    #[expect(unsafe_code, reason = "native code is trusted")]
    fn read(
        store: &Store,
        Installed { record, artefact: file, .. }: Installed,
    ) -> Result<Self, Ending> {
        let length = usize::try_from(record.size).unwrap_or(usize::MAX);
        // SAFETY: the digest is in a record to which only root, or the user of this process, can write,
        // and which `keycell guest install` wrote when it had compiled the code.
        let read = unsafe { NativeCode::read(&file, length, &record.artefact) };
        let native_code = read.map_err(|error| InstalledError::Unreadable {
            name: record.name.clone(),
            error,
            command: store.reinstall(&record.name),
        })?;
        let Some(native_code) = native_code else {
            return Err(refused(store.changed(&record.name)));
        };
        let rebuild = Some(store.command("rebuild", &record.name));
        let source = Some(record.source.to_string());
        let (kind, form) = (record.kind, record.form);
        Ok(Self { name: record.name, kind, form, native_code, source, rebuild })
    }

    /// The digest of the guest that it was compiled from, if it is known: `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Returns an engine, and the guest loaded in it as a component.
    ///
    /// # Errors
    /// The code is for an engine with other settings or for another CPU, or it is a core module.
    pub fn component(&self) -> Result<(Engine, Component), Ending> {
        self.native_code.component().map_err(|error| self.unfit(error))
    }

    /// Returns an engine, and the guest loaded in it as a core module.
    ///
    /// # Errors
    /// The code is for an engine with other settings or for another CPU, or it is a component.
    pub fn module(&self) -> Result<(Engine, Module), Ending> {
        self.native_code.module().map_err(|error| self.unfit(error))
    }

    fn unfit(&self, error: wasmtime::Error) -> Ending {
        let error = match error.downcast() {
            Ok(error) => return GuestFailure::NotExecutable(error).into(),
            Err(error) => error,
        };
        let Some(rebuild) = self.rebuild.clone() else { return GuestFailure::Host(error).into() };
        let name = self.name.clone();
        let why = error.root_cause().to_string();
        // wasmtime has no error types for these cases, so its texts are compared.
        if why == "incompatible object file format" {
            return InstalledError::OtherForm { name, form: self.form, rebuild }.into();
        }
        match why.split('"').nth(1).and_then(|flag| flag.strip_prefix("has_")) {
            Some(feature) => {
                InstalledError::OtherCpu { name, feature: feature.to_owned(), rebuild }.into()
            }
            None => InstalledError::OtherEngine { name, why, rebuild }.into(),
        }
    }
}

/// Why an installed guest cannot run.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// It has no verified signature, and one is required.
    #[error("the guest `{name}` is not signed, and `--require-signature` is set")]
    Unsigned {
        /// The guest.
        name: String,
        /// The command that installs it with a signature.
        command: String,
    },
    /// Its code cannot be read.
    #[error("cannot read the code of the guest `{name}`: {}", os_error(error))]
    Unreadable {
        /// The guest.
        name: String,
        /// Why.
        error: io::Error,
        /// The command that installs it.
        command: String,
    },
    /// Its code is a component although its record says that it is a core module, or vice versa.
    #[error("the guest `{name}` is not the {form} that its record says")]
    OtherForm {
        /// The guest.
        name: String,
        /// What its record says.
        form: Form,
        /// The command that compiles it.
        rebuild: String,
    },
    /// It was compiled for another processor.
    #[error("the guest `{name}` needs a CPU with `{feature}`, which this one does not have")]
    OtherCpu {
        /// The guest.
        name: String,
        /// The feature that this processor lacks.
        feature: String,
        /// The command that compiles it.
        rebuild: String,
    },
    /// It was compiled for an engine with other settings.
    #[error("the guest `{name}` was compiled for an engine with other settings: {why}")]
    OtherEngine {
        /// The guest.
        name: String,
        /// The engine's reason.
        why: String,
        /// The command that compiles it.
        rebuild: String,
    },
}

impl InstalledError {
    fn hint(&self) -> DecoderHint {
        match self {
            Self::Unsigned { command, .. } => DecoderHint::SignGuest { command: command.clone() },
            Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::OutOfMemory => {
                DecoderHint::MemoryLimit
            }
            Self::Unreadable { command, .. } => {
                DecoderHint::ReinstallGuest { command: command.clone() }
            }
            Self::OtherForm { rebuild, .. } | Self::OtherEngine { rebuild, .. } => {
                DecoderHint::RebuildGuest { command: rebuild.clone() }
            }
            Self::OtherCpu { rebuild, .. } => {
                DecoderHint::RebuildGuestForEveryCpu { command: rebuild.clone() }
            }
        }
    }
}

ends_a_run!(InstalledError);

fn refused(refusal: Refusal) -> Ending {
    Diagnostic::from(refusal).into()
}
