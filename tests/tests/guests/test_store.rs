//! A store with guests in it, which a case can use and damage.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::dist;
use keycell_tests::guest::COPIES;
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::tools::output;
use tempfile::TempDir;

/// A separate store for one case.
pub struct TestStore {
    dir: TempDir,
}

impl TestStore {
    /// Empty: not even the directory exists.
    pub fn empty() -> Result<Self> {
        Ok(Self { dir: TempDir::with_prefix("keycell-guests-")? })
    }

    /// With the guest `tiny`, which is the one in [`COPIES`].
    pub fn tiny() -> Result<Self> {
        Self::copied(|store| store.install_text("tiny", COPIES, &[]).map(drop), &TINY)
    }

    /// With our own guests: `portable`, `core` and `ours`.
    pub fn full() -> Result<Self> {
        let fill = |store: &Self| {
            for (name, file) in [
                ("portable", "decoder-portable.wasm"),
                ("core", "decoder-portable-core.wasm"),
                ("ours", "decoder.wasm"),
            ] {
                let file = dist(file)?;
                store.keycell("install", [file.as_os_str(), "--name".as_ref(), name.as_ref()])?;
            }
            Ok(())
        };
        Self::copied(fill, &FULL)
    }

    /// Compiling takes its time, so it is done once.
    fn copied(
        fill: impl FnOnce(&Self) -> Result<()>,
        made: &OnceLock<Result<Self, String>>,
    ) -> Result<Self> {
        let made = made.get_or_init(|| {
            let store = Self::empty().map_err(|error| error.to_string())?;
            fill(&store).map_err(|error| format!("{error:#}"))?;
            Ok(store)
        });
        let made = made.as_ref().map_err(|error| anyhow!("{error}"))?;
        let store = Self::empty()?;
        output(Command::new("cp").arg("-a").arg(made.path()).arg(store.path()))?;
        Ok(store)
    }

    /// Where the store is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A file of a guest.
    pub fn file(&self, guest: &str, name: &str) -> PathBuf {
        self.path().join(guest).join(name)
    }

    /// A file beside the store.
    pub fn beside(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// `keycell guest VERB --store … ARGS`.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        verb: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Command> {
        let mut command = Command::new(dist("keycell")?);
        command.args(["guest", verb, "--store"]).arg(self.path()).args(args);
        Ok(command)
    }

    /// Runs it, and returns what it printed.
    pub fn keycell<A: AsRef<OsStr>>(
        &self,
        verb: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        Ok(String::from_utf8(output(&mut self.command(verb, args)?)?)?)
    }

    /// Runs it to a failure with each of `words` in what it says.
    pub fn fails<A: AsRef<OsStr>>(
        &self,
        verb: &str,
        args: impl IntoIterator<Item = A>,
        words: &[&str],
    ) -> Result<String> {
        let done = self.command(verb, args)?.output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.code() == Some(1), "{}: {said}", done.status);
        ensure!(said.starts_with("keycell: error: ") && said.contains("\nhint: "), "{said}");
        for word in words {
            ensure!(said.contains(word), "nothing of `{word}`: {said}");
        }
        Ok(said)
    }

    /// Installs a guest that is given as text.
    pub fn install_text(&self, name: &str, text: &str, args: &[&str]) -> Result<String> {
        let file = self.beside(&format!("{name}.wasm"), wat::parse_str(text)?)?;
        let args = args.iter().map(OsStr::new).chain([file.as_os_str()]);
        self.keycell("install", args)
    }

    /// The decoder with this store, the guest `name`, and all that `node` gives it.
    pub fn decoder(&self, node: &Node, sealed: &Sealed, name: &str) -> Result<Decoder> {
        let decoder = node.decoder(sealed)?.arg("--guest-store").arg(self.path());
        Ok(decoder.arg("--guest").arg(name))
    }

    /// The decoder refuses the guest `name`: each of `words`, and not a byte of the layer.
    pub fn refuses(&self, name: &str, words: &[&str]) -> Result<String> {
        let node = Node::new()?;
        let outcome = self.decoder(&node, &Sealed::of_length(1000), name)?.run()?;
        keycell_tests::node::says(&outcome, words)?;
        Ok(outcome.stderr)
    }

    /// Changes the record of a guest.
    pub fn edit(&self, guest: &str, change: impl FnOnce(&mut serde_json::Value)) -> Result<()> {
        let path = self.file(guest, "record.json");
        let mut record = serde_json::from_slice(&fs::read(&path)?)?;
        change(&mut record);
        Ok(fs::write(path, serde_json::to_vec(&record)?)?)
    }

    /// Changes the code of a guest, and its record so that the digest is right.
    pub fn forge(
        &self,
        guest: &str,
        change: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let path = self.file(guest, "guest.cwasm");
        let mut code = fs::read(&path)?;
        change(&mut code)?;
        fs::write(&path, &code)?;
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&code);
        let digest = format!("sha256:{}", keycell_tests::image::hex(&digest));
        self.edit(guest, |record| record["artefact"] = digest.into())
    }
}

/// Runs a command line that a hint gives.
pub fn command_in(hint: &str) -> Result<()> {
    let command = hint.split('`').find(|text| text.starts_with("keycell guest "));
    let command = command.with_context(|| format!("no command in: {hint}"))?;
    let keycell = dist("keycell")?;
    let directory = keycell.parent().unwrap_or(Path::new("/"));
    let path = format!("PATH={}:$PATH; {command}", directory.display());
    output(Command::new("sh").args(["-c", &path])).map(drop)
}

static TINY: OnceLock<Result<TestStore, String>> = OnceLock::new();
static FULL: OnceLock<Result<TestStore, String>> = OnceLock::new();
