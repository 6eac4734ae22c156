//! Says megabytes on standard error, with codes for a terminal, in `decrypt`.

use keycell_hostile_guests::{Failure, Fixture, InputStream, OutputStream, failure, fixture};

struct FloodsStderr;

impl Fixture for FloodsStderr {
    fn decrypt(_: InputStream, _: OutputStream) -> Result<(), Failure> {
        let line = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m forged\rctd-decoder: all is well\n";
        for _ in 0..100_000 {
            eprint!("{line}");
        }
        // And lines without anything in them, each of which would be one in the log.
        eprint!("{}", "\n".repeat(1 << 20));
        Err(failure("flooded"))
    }
}

fixture!(FloodsStderr);
