//! The guest that runs: the one that this program was built with, or one that an administrator
//! has installed.

use keycell_guest_store::record::{Form, Kind};
use keycell_guest_store::store::{self, EMBEDDED, Installed, Refusal, Store};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::args::Job;
use crate::artefact::Artefact;
use crate::contract::Failure;
use crate::failures::{broken_host, with_hint};

/// A guest, ready to be loaded.
pub struct Guest {
    /// Its name in the store, or `embedded`.
    pub name: String,
    /// How it is run.
    pub kind: Kind,
    /// What it is to the engine.
    pub form: Form,
    artefact: Artefact,
    /// The digest of the guest that it was compiled from.
    source: Option<String>,
    /// The command that compiles it anew; `None` for the embedded one.
    rebuild: Option<String>,
}

impl Guest {
    /// The guest that `job` names, the store's default one, or `embedded`.
    ///
    /// # Errors
    /// A guest that is not there, or of which anything is not as it was installed: whose it is,
    /// who can write to it, its digest, its engine. Another one never runs in its place.
    ///
    /// # Ambient Authority
    /// Opens the guest store with the rights of this process.
    pub fn choose(job: &Job, embedded: Artefact) -> Result<Self, Failure> {
        let chosen = store::chosen(job.guest.as_deref(), &job.guest_store)?;
        let Some((store, installed)) = chosen else { return Ok(Self::embedded(embedded)) };
        if job.require_signature && installed.record.signature.is_none() {
            let name = &installed.record.name;
            return Err(with_hint(
                format!("the guest `{name}` is not signed, and `--require-signature` is set"),
                format!(
                    "`{}` takes a signature of minisign",
                    store.command(
                        "install --replace FILE --signature FILE --public-key KEY --name",
                        name
                    )
                ),
            ));
        }
        Self::read(&store, installed)
    }

    fn embedded(artefact: Artefact) -> Self {
        let source = artefact.digest().map(str::to_owned);
        let (kind, form) = (Kind::Decoder, Form::Component);
        Self { name: EMBEDDED.to_owned(), kind, form, artefact, source, rebuild: None }
    }

    #[expect(unsafe_code, reason = "native code is trusted")]
    fn read(
        store: &Store,
        Installed { record, artefact: file, .. }: Installed,
    ) -> Result<Self, Failure> {
        let length = usize::try_from(record.size).unwrap_or(usize::MAX);
        // SAFETY: the digest stands in a record to which only root, or the user of this process,
        // can write, and `keycell guest install` wrote it when it had compiled the code.
        let artefact = unsafe { Artefact::read(&file, length, &record.artefact) };
        let artefact = artefact.map_err(|error| {
            with_hint(
                format!("cannot read the code of the guest `{}`: {error}", record.name),
                format!("`{}` looks closer", store.command("verify", &record.name)),
            )
        })?;
        let Some(artefact) = artefact else {
            return Err(store::altered(&record.name, &store.command("verify", &record.name)).into());
        };
        let rebuild = Some(store.command("rebuild", &record.name));
        let source = Some(record.source.to_string());
        let (kind, form) = (record.kind, record.form);
        Ok(Self { name: record.name, kind, form, artefact, source, rebuild })
    }

    /// The digest of the guest that it was compiled from, if that is known: `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// An engine, and the guest in it, which is a component.
    ///
    /// # Errors
    /// Code for an engine with other settings, or for another CPU; code of a core module.
    pub fn component(&self) -> Result<(Engine, Component), Failure> {
        self.artefact.component().map_err(|error| self.unfit(error))
    }

    /// An engine, and the guest in it, which is a core module.
    ///
    /// # Errors
    /// Code for an engine with other settings, or for another CPU; code of a component.
    pub fn module(&self) -> Result<(Engine, Module), Failure> {
        self.artefact.module().map_err(|error| self.unfit(error))
    }

    fn unfit(&self, error: wasmtime::Error) -> Failure {
        match &self.rebuild {
            Some(rebuild) => unfit(&self.name, self.form, rebuild, &error),
            None => broken_host(error),
        }
    }
}

/// What wasmtime says of an artefact that is whole: it was compiled for something else.
fn unfit(name: &str, form: Form, rebuild: &str, error: &wasmtime::Error) -> Failure {
    let why = error.root_cause().to_string();
    if why == "incompatible object file format" {
        return with_hint(
            format!("the guest `{name}` is not the {form} that its record says"),
            format!("`{rebuild}` compiles it anew"),
        );
    }
    match why.split('"').nth(1).and_then(|flag| flag.strip_prefix("has_")) {
        Some(feature) => with_hint(
            format!("the guest `{name}` needs a CPU with `{feature}`, which this one has not"),
            format!("`{rebuild} --cpu baseline` compiles it for every CPU"),
        ),
        None => with_hint(
            format!("the guest `{name}` was compiled for an engine with other settings: {why}"),
            format!("`{rebuild}` compiles it anew"),
        ),
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        with_hint(refusal.message, refusal.hint)
    }
}
