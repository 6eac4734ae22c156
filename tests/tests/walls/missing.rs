//! Kernels that lack a wall, and users that the decoder cannot become.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use keycell_tests::decoder::Decoder;
use keycell_tests::node::Node;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::swaps::Swaps;
use keycell_tests::tools::Tool;
use tempfile::TempDir;

pub(crate) fn cases(suite: &mut Suite) {
    // The second Landlock is up while keys are unwrapped, and cannot be closed further afterwards.
    for (wall, note) in [
        ("landlock", "no wall `Landlock`"),
        ("seccomp", "no wall `seccomp`"),
        ("second-landlock", "no wall `Landlock` while the layer flows"),
    ] {
        suite.case(format!("missing/{wall}/goes-on-and-logs"), &[], move || {
            let (sealed, decoder, log) = without(wall)?;
            decoder.run()?.is_silent_success(&sealed.plain)?;
            let log = fs::read_to_string(log.path())?;
            ensure!(log.contains(note), "the log has: {log}");
            let notes = log.matches("no wall").count();
            ensure!(wall != "second-landlock" || notes == 1, "the log has: {log}");
            Ok(())
        });
        suite.case(format!("missing/{wall}/is-refused-when-required"), &[], move || {
            let (_, decoder, log) = without(wall)?;
            let outcome = decoder.arg("--require-sandbox").stdin_stays_open().run()?;
            let error = outcome.error_without_output()?;
            ensure!(error.contains("--require-sandbox"), "{error}");
            let log = fs::read_to_string(log.path())?;
            ensure!(wall != "second-landlock" || log.contains(note), "the log has: {log}");
            Ok(())
        });
    }
    suite.case("missing/nothing-where-all-is-there", &[], || {
        let node = Node::new()?;
        let sealed = Sealed::of_length(100_000);
        let log = tempfile::NamedTempFile::new()?;
        let decoder = node.decoder(&sealed)?.arg("--require-sandbox");
        decoder.arg("--log").arg(log.path()).run()?.is_silent_success(&sealed.plain)?;
        let log = fs::read_to_string(log.path())?;
        ensure!(!log.contains("no wall"), "the log has: {log}");
        Ok(())
    });
    // Without root, and with a limit on locked memory that is too low.
    suite.case("missing/swap-alone-is-not-required", &[Tool::Root, Tool::Setpriv], || {
        let node = Node::new()?;
        let sealed = Sealed::of_length(100_000);
        let (_dir, program) = copy_for_all()?;
        let decoder = Decoder::at(&program).layer(sealed.encrypted.clone());
        let payload = sealed.payload_for(&node.recipient);
        let decoder = decoder.payload(payload.private_key(&node.recipient.private_key()).bytes());
        let swaps = Swaps::new(true)?;
        let decoder = decoder.inside(swaps.inside()).as_user(65_534);
        let outcome = decoder.arg("--require-sandbox").run()?;
        outcome.is_silent_success(&sealed.plain)
    });
    // It is that user already, but in a group of disks, which only root can leave.
    suite.case("user/groups-that-cannot-be-dropped", &[Tool::Root, Tool::Setpriv], || {
        let sealed = Sealed::of_length(1000);
        let (_dir, program) = copy_for_all()?;
        let payload = sealed.payload_for(&keycell_tests::jwe::Recipient::generate());
        let decoder = Decoder::at(&program).payload(payload.bytes()).stdin_stays_open();
        let words = ["--reuid=65534", "--regid=65534", "--groups=6"].map(Into::into);
        let words = [vec![Tool::Setpriv.find()?.into()], words.to_vec()].concat();
        let outcome = decoder.inside(words).arg("--user").arg("65534").run()?;
        let error = outcome.error_without_output()?;
        ensure!(error.contains("cannot become the user `65534`"), "{error}");
        Ok(())
    });
    suite.case("user/not-root", &[Tool::Root, Tool::Setpriv], || {
        let sealed = Sealed::of_length(1000);
        let (_dir, program) = copy_for_all()?;
        let payload = sealed.payload_for(&keycell_tests::jwe::Recipient::generate());
        let decoder = Decoder::at(&program).payload(payload.bytes()).stdin_stays_open();
        let outcome = decoder.as_user(65_534).arg("--user").arg("1").run()?;
        let error = outcome.error_without_output()?;
        ensure!(error.contains("cannot become the user `1`"), "{error}");
        ensure!(error.contains("needs root"), "{error}");
        Ok(())
    });
}

/// A layer, a decoder on a kernel without `wall`, and its log.
fn without(wall: &str) -> Result<(Sealed, Decoder, tempfile::NamedTempFile)> {
    let node = Node::new()?;
    let sealed = Sealed::of_length(100_000);
    let log = tempfile::NamedTempFile::new()?;
    let payload = sealed.payload_for(&node.recipient);
    // The key comes with the payload, so that no directory has to outlive this.
    let payload = payload.private_key(&node.recipient.private_key());
    let decoder = Decoder::at(Path::new(env!("CARGO_BIN_EXE_without"))).arg(wall);
    let decoder = decoder.arg(keycell_tests::dist("ctd-decoder")?).arg("--log").arg(log.path());
    Ok((sealed.clone(), decoder.payload(payload.bytes()).layer(sealed.encrypted), log))
}

/// A copy of the decoder that every user can run, and its directory.
fn copy_for_all() -> Result<(TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let program = dir.path().join("ctd-decoder");
    fs::copy(keycell_tests::dist("ctd-decoder")?, &program)?;
    for path in [dir.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok((dir, program))
}
