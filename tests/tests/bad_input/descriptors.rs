//! Standard input, output and error: closed, full, slow, or gone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use keycell_tests::node::{Node, says};
use keycell_tests::sealed::Sealed;

use keycell_tests::suite::Cases;

pub(crate) fn add(cases: &mut Cases) {
    closed(cases);
    broken_output(cases);
    slow_or_nonblocking(cases);
}

fn closed(cases: &mut Cases) {
    cases.case("stdin/closed", || {
        let (node, sealed) = node()?;
        says(
            &node.decoder(&sealed)?.close(0).run()?,
            &["ended after 0.0 of 1.0 MB", "whoever sends it stopped"],
        )
    });
    cases.case("stdout/closed", || {
        let (node, sealed) = node()?;
        says(&node.decoder(&sealed)?.close(1).run()?, &["standard output is closed"])
    });
    cases.case("stderr/closed", || {
        let (node, sealed) = node()?;
        node.decoder(&sealed)?.close(2).run()?.is_silent_success(&sealed.plain)
    });
    for (name, closed) in [
        ("stdin-and-stdout", [0, 1].as_slice()),
        ("stdin-and-stderr", &[0, 2]),
        ("stdout-and-stderr", &[1, 2]),
        ("all", &[0, 1, 2]),
        ("all-and-the-payload", &[0, 1, 2, 3]),
    ] {
        cases.case(&format!("closed/{name}"), move || {
            let (node, sealed) = node()?;
            let decoder = node.decoder(&sealed)?;
            let outcome =
                closed.iter().fold(decoder, |decoder, number| decoder.close(*number)).run()?;
            ensure!(outcome.status.code() == Some(1), "{}", outcome.status);
            ensure!(outcome.stdout.is_empty(), "{} bytes came out", outcome.stdout.len());
            Ok(())
        });
    }
}

fn broken_output(cases: &mut Cases) {
    cases.case("stderr/full", || {
        // A message that cannot be written is no reason for another exit code.
        let (node, sealed) = node()?;
        let script = "exec \"$0\" \"$@\" 2>/dev/full";
        let decoder = keycell_tests::decoder::Decoder::at("/bin/sh".as_ref());
        let decoder = decoder.arg("-c").arg(script).arg(keycell_tests::dist("ctd-decoder")?);
        let outcome = decoder.keys(&node.keys()).layer(sealed.encrypted).run()?;
        ensure!(outcome.status.code() == Some(1), "{}", outcome.status);
        Ok(())
    });
    cases.case("stdout/full", || {
        for side in ["host", "guest"] {
            let (node, sealed) = node()?;
            let decoder = node.decoder(&sealed)?.arg("--cipher").arg(side);
            let outcome = decoder.stdout_to(Path::new("/dev/full")).run()?;
            says(&outcome, &["cannot write the plain layer", "no space left"])?;
        }
        Ok(())
    });
    for (name, bytes) in [("at-once", 0), ("after-1-byte", 1), ("after-100000-bytes", 100_000)] {
        cases.case(&format!("stdout/reader-goes-{name}"), move || {
            for side in ["host", "guest"] {
                let (node, sealed) = node()?;
                let decoder = node.decoder(&sealed)?.arg("--cipher").arg(side);
                let outcome = decoder.reader_closes_after(bytes).run()?;
                // Quietly: whoever would read the message has gone.
                ensure!(outcome.status.code() == Some(1), "{}", outcome.status);
                ensure!(outcome.stderr.is_empty(), "{}", outcome.stderr);
                ensure!(outcome.elapsed < Duration::from_secs(10), "took {:?}", outcome.elapsed);
                ensure!(sealed.plain.starts_with(&outcome.stdout), "something else came out");
            }
            Ok(())
        });
    }
}

fn slow_or_nonblocking(cases: &mut Cases) {
    cases.case("nonblocking/whole-layer", || {
        for side in ["host", "guest"] {
            let (node, sealed) = node()?;
            let decoder = node.decoder(&sealed)?.arg("--cipher").arg(side);
            decoder.nonblocking().run()?.is_silent_success(&sealed.plain)?;
        }
        Ok(())
    });
    cases.case("nonblocking/slow-writer", || {
        let (node, sealed) = node()?;
        let decoder = node.decoder(&sealed)?.in_pieces(200_000, Duration::from_millis(20));
        decoder.nonblocking().run()?.is_silent_success(&sealed.plain)
    });
    cases.case("slow-writer/odd-pieces", || {
        for side in ["host", "guest"] {
            let (node, sealed) = (Node::new()?, Sealed::of_length(200_000));
            let decoder = node.decoder(&sealed)?.arg("--cipher").arg(side);
            let decoder = decoder.in_pieces(9_973, Duration::from_millis(5));
            decoder.run()?.is_silent_success(&sealed.plain)?;
        }
        Ok(())
    });
    // The timer that stops a guest that computes for ever must not stop one that waits.
    cases.case("slow-writer/pauses-longer-than-a-tick", || {
        let (node, sealed) = (Node::new()?, Sealed::of_length(100_000));
        let decoder = node.decoder(&sealed)?.in_pieces(40_000, Duration::from_millis(1500));
        decoder.run()?.is_silent_success(&sealed.plain)
    });
}

/// A layer that no pipe holds: a reader that has gone is noticed.
fn node() -> Result<(Node, Sealed)> {
    Ok((Node::new()?, Sealed::of_length(1 << 20)))
}
