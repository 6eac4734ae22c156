//! What is, and is not, inside the programs.

use std::fs;

use anyhow::{Result, ensure};
use keycell_tests::dist;
use keycell_tests::suite::Suite;

pub fn cases(suite: &mut Suite) {
    suite.case("programs/no-compiler-in-the-decoder", &[], no_compiler);
    suite.case("programs/size-of-the-decoder", &[], size);
}

/// What a compiler says: names of its parts, in messages that it cannot work without.
const COMPILER: [&str; 2] = ["cranelift_codegen", "regalloc2"];

/// The same look finds it in the program that has one.
fn no_compiler() -> Result<()> {
    let (decoder, keycell) = (fs::read(dist("ctd-decoder")?)?, fs::read(dist("keycell")?)?);
    for words in COMPILER {
        let is_in = |program: &[u8]| program.windows(words.len()).any(|w| w == words.as_bytes());
        ensure!(is_in(&keycell), "nothing of `{words}` in `keycell`: the search is of no use");
        ensure!(!is_in(&decoder), "`{words}` is in `ctd-decoder`");
    }
    Ok(())
}

/// With its guest, and as `make` builds it.
fn size() -> Result<()> {
    let bytes = fs::metadata(dist("ctd-decoder")?)?.len();
    ensure!(
        bytes < 8 << 20,
        "`ctd-decoder` has {bytes} bytes: was it built with `make`'s settings?"
    );
    Ok(())
}
