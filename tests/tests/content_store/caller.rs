//! The content store of the containerd that calls: a shell plays it, and holds metadata open.
//!
//! Where the caller is not believed, the decoder searches a store without images, and says why.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::Result;
use keycell_tests::decoder::Decoder;
use keycell_tests::node::says;
use keycell_tests::store::ContentStore;
use keycell_tests::suite::Cases;
use keycell_tests::tools::Tool;

use crate::{Case, LONG};

const METADATA: &str = "io.containerd.metadata.v1.bolt/meta.db";

/// The user and the group of nobody.
const STRANGER: u32 = 65534;

/// Opens the metadata, `$1`, and starts the decoder, to which the descriptor is closed.
const CALL: &str = r#"exec 9<"$1"; shift; "$@" 9<&-; exit $?"#;

pub(crate) fn add(cases: &mut Cases) {
    believed(cases);
    of_other_users(cases);
    replaced(cases);
    elsewhere(cases);
}

fn believed(cases: &mut Cases) {
    cases.case("caller/parent", || {
        let case = called()?;
        case.opens_for(shell(CALL, &case.metadata(METADATA)?), None)
    });
    cases.case("caller/behind-scripts", || {
        let case = called()?;
        let script = r#"exec 9<"$1"; shift; sh -c '"$@"; exit $?' script "$@" 9<&-; exit $?"#;
        case.opens_for(shell(script, &case.metadata(METADATA)?), None)
    });
    cases.case("caller/root-is-a-link", || {
        let case = called()?;
        case.metadata(METADATA)?;
        let link = case.node.outside().join("link");
        symlink(case.store.root(), &link)?;
        case.opens_for(shell(CALL, &link.join(METADATA)), None)
    });
    cases.case("caller/before-another-configured-root", || {
        let case = called()?;
        let metadata = case.metadata(METADATA)?;
        let other = ContentStore::new()?;
        case.opens_for(shell(CALL, &metadata), Some(other.root()))?;
        case.opens_for(shell(CALL, &metadata), Some(&other.root().join("absent")))
    });
    cases.case("caller/beside-the-configured-root", || {
        let case = called()?;
        let other = ContentStore::new()?;
        let metadata = metadata_in(other.root(), METADATA)?;
        case.opens_for(shell(CALL, &metadata), Some(case.store.root()))
    });
    cases.case("caller/content-was-removed", || {
        let case = called()?;
        let other = ContentStore::new()?;
        other.blob(b"{}")?;
        let metadata = metadata_in(other.root(), METADATA)?;
        let decoder = case.without_store()?.inside(shell(CALL, &metadata)).stdin_stays_open();
        says(&decoder.run()?, &["none of 1 blobs", "pull the image again"])
    });
    cases.case("caller/nothing-is-looked-for-with-a-payload", || {
        let case = called()?;
        let metadata = case.metadata(METADATA)?;
        fs::remove_dir_all(case.store.blobs())?;
        let payload = case.sealed.payload_for(&case.node.recipient).bytes();
        // The shell needs a number for the pipe that is not that of the payload.
        let decoder = case.without_store()?.payload(payload).inside(shell(CALL, &metadata));
        decoder.run()?.is_silent_success(&case.sealed.plain)
    });
}

/// A hostile user cannot make a decoder that runs as root look into another store.
fn of_other_users(cases: &mut Cases) {
    let root = [Tool::Root, Tool::Setpriv];
    cases.case_with(&root, "caller/metadata-of-another-user", || {
        let case = called()?;
        let metadata = case.metadata(METADATA)?;
        chown(&metadata, Some(STRANGER), None)?;
        case.is_not_believed(shell(CALL, &metadata), &["meta.db` belongs to the user 65534"])
    });
    cases.case_with(&root, "caller/executable-of-another-user", || {
        let case = called()?;
        let metadata = case.metadata(METADATA)?;
        let program = case.node.outside().join("containerd");
        fs::copy(fs::canonicalize("/bin/sh")?, &program)?;
        chown(&program, Some(STRANGER), None)?;
        let mut words = shell(CALL, &metadata);
        words[0] = program.into();
        let because = ["the executable of `containerd`", "belongs to the user 65534"];
        case.is_not_believed(words, &because)
    });
    // In a user namespace the files of the host's root have no owner that it knows.
    let tools = [Tool::Root, Tool::Unshare];
    cases.case_with(&tools, "caller/executable-of-another-user-namespace", || {
        let case = called()?;
        let metadata = case.metadata(METADATA)?;
        let program = case.node.outside().join("containerd");
        fs::copy(fs::canonicalize("/bin/sh")?, &program)?;
        chown(&program, Some(1234), None)?;
        let mut words = vec![Tool::Unshare.find()?.into_os_string()];
        words.extend(["--user", "--map-root-user"].map(OsString::from));
        words.extend(shell(CALL, &metadata));
        words[3] = program.into();
        case.opens_for(words, None)
    });
    // As with a rule of sudo(8): the user may start the decoder as root, and owns nothing that is looked at.
    cases.case_with(&root, "caller/process-of-another-user", || {
        let case = called()?;
        let metadata = case.metadata(METADATA)?;
        for path in [case.node.outside(), case.store.root()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let right = "--ambient-caps=+setuid,+setgid";
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let mut words = vec![Tool::Setpriv.find()?.into_os_string()];
        words.extend(user.map(OsString::from));
        words.extend(["--inh-caps=+setuid,+setgid", right].map(OsString::from));
        words.extend(shell(CALL, &metadata));
        words.push(Tool::Setpriv.find()?.into());
        words.extend(["--reuid=0", "--regid=0", "--clear-groups"].map(OsString::from));
        case.is_not_believed(words, &["runs as another user"])
    });
    cases.case_with(&root, "caller/decoder-is-not-root", || {
        let case = called()?;
        let program = case.node.outside().join("ctd-decoder");
        fs::copy(keycell_tests::dist("ctd-decoder")?, &program)?;
        let metadata = case.metadata(METADATA)?;
        for path in [case.node.outside(), &case.node.keys(), case.store.root()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        // Below root it may not look, and falls back to the configured root.
        let mut words = shell(CALL, &metadata);
        words.push(Tool::Setpriv.find()?.into());
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups"].map(OsString::from);
        words.extend(user.iter().cloned());
        let decoder = case.without_store()?.program(&program).inside(words);
        let decoder = decoder.arg("--content-store");
        let because = "cannot be listed: permission denied";
        let other = bare()?;
        fs::set_permissions(other.root(), fs::Permissions::from_mode(0o755))?;
        says(&decoder.clone().arg(other.root()).stdin_stays_open().run()?, &[because])?;
        decoder.arg(case.store.root()).run()?.is_silent_success(&case.sealed.plain)?;
        // Below its own user it may.
        let mut words = vec![Tool::Setpriv.find()?.into_os_string()];
        words.extend(user);
        words.extend(shell(CALL, &metadata));
        let decoder = case.without_store()?.program(&program).inside(words);
        decoder.run()?.is_silent_success(&case.sealed.plain)
    });
}

fn replaced(cases: &mut Cases) {
    for (name, metadata) in [
        ("other-name", "io.containerd.metadata.v1.bolt/meta.db.old"),
        ("other-directory", "xio.containerd.metadata.v1.bolt/meta.db"),
        ("deeper", "io.containerd.metadata.v1.bolt/x/meta.db"),
        ("looks-deleted", "io.containerd.metadata.v1.bolt/meta.db (deleted)"),
    ] {
        cases.case(&format!("caller/{name}"), move || {
            let case = called()?;
            case.is_not_believed(
                shell(CALL, &case.metadata(metadata)?),
                &["holds containerd's metadata open"],
            )
        });
    }
    cases.case("caller/deleted", || {
        let case = called()?;
        let script = r#"exec 9<"$1"; rm "$1"; shift; "$@" 9<&-; exit $?"#;
        case.is_not_believed(
            shell(script, &case.metadata(METADATA)?),
            &["`sh` (process ", "holds containerd's metadata open"],
        )
    });
    cases.case_with(&[Tool::Root, Tool::Unshare], "caller/another-file-is-at-its-path", || {
        let case = called()?;
        let script = r#"exec 9<"$1"; mount --bind /etc/passwd "$1"; shift; "$@" 9<&-; exit $?"#;
        let words = in_namespace(shell(script, &case.metadata(METADATA)?))?;
        case.is_not_believed(words, &["is not the file that the process holds open"])
    });
}

fn elsewhere(cases: &mut Cases) {
    let tools = [Tool::Root, Tool::Unshare, Tool::Nsenter];
    cases.case_with(&tools, "caller/in-another-mount-namespace", || {
        let case = called()?;
        case.metadata(METADATA)?;
        let root = case.node.outside().join("root");
        fs::create_dir(&root)?;
        // The store is at `root` only for the caller.
        let script = r#"mount --bind "$1" "$2" && exec 9<"$2/$3"; shift 3; "$@" 9<&-; exit $?"#;
        let outer = r#"exec 8</proc/self/ns/mnt; exec "$@""#;
        let mut words: Vec<OsString> = ["sh", "-c", outer, "sh"].map(Into::into).into();
        let mut inner: Vec<OsString> = ["sh", "-c", script, "sh"].map(Into::into).into();
        inner.extend([case.store.root().into(), root.into(), METADATA.into()]);
        words.extend(in_namespace(inner)?);
        words.extend([Tool::Nsenter.find()?.into(), "--mount=/proc/self/fd/8".into()]);
        case.opens_for(words, None)
    });
    cases.case_with(&[Tool::Root, Tool::Unshare], "caller/proc-is-not-mounted", || {
        let case = called()?;
        let script = r#"exec 9<"$1"; mount -t tmpfs none /proc; shift; "$@" 9<&-; exit $?"#;
        let words = in_namespace(shell(script, &case.metadata(METADATA)?))?;
        case.opens_for(words.clone(), Some(case.store.root()))?;
        case.is_not_believed(words, &["`/proc` does not show the process that calls"])
    });
}

impl Case {
    /// Makes containerd's metadata below the root of the store.
    fn metadata(&self, name: &str) -> Result<PathBuf> {
        metadata_in(self.store.root(), name)
    }

    /// A decoder that `words` start finds the layer.
    fn opens_for(&self, words: Vec<OsString>, configured: Option<&Path>) -> Result<()> {
        let decoder = self.without_store()?.inside(words);
        let decoder = match configured {
            Some(root) => decoder.arg("--content-store").arg(root),
            None => decoder,
        };
        decoder.run()?.is_silent_success(&self.sealed.plain)
    }

    /// A decoder that `words` start does not find it, and says why.
    fn is_not_believed(&self, words: Vec<OsString>, because: &[&str]) -> Result<()> {
        let other = bare()?;
        let decoder: Decoder = self.without_store()?.inside(words).stdin_stays_open();
        let outcome = decoder.arg("--content-store").arg(other.root()).run()?;
        says(&outcome, &["none of 1 blobs", "the containerd that calls was not found"])?;
        says(&outcome, because)
    }
}

/// A case whose store is known only through the process that calls.
fn called() -> Result<Case> {
    Case::new(LONG)
}

/// A store without an image.
fn bare() -> Result<ContentStore> {
    let store = ContentStore::new()?;
    store.blob(b"{}")?;
    Ok(store)
}

fn metadata_in(root: &Path, name: &str) -> Result<PathBuf> {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap_or(root))?;
    fs::write(&path, "")?;
    Ok(path)
}

/// A shell that runs `script` with the path of the metadata as `$1`, followed by the decoder.
fn shell(script: &str, metadata: &Path) -> Vec<OsString> {
    let words = ["sh", "-c", script, "sh"].map(OsString::from);
    words.into_iter().chain([metadata.into()]).collect()
}

/// The same words in a mount namespace of their own.
fn in_namespace(words: Vec<OsString>) -> Result<Vec<OsString>> {
    let unshare = Tool::Unshare.find()?.into_os_string();
    let flags = ["--mount", "--propagation", "private"].map(OsString::from);
    Ok([unshare].into_iter().chain(flags).chain(words).collect())
}
