//! `make timing`: runs what secrets go through with the secrets marked as undefined, so that valgrind's
//! memcheck reports each branch and each address that depends on one.
//!
//! As a program of this machine it takes the name of an operation, and marks memory by valgrind's client
//! requests. As WebAssembly its host (engine/examples/timing_host.rs) names the operation by its number and
//! marks the memory. Without the feature `timing` the library does not show its secrets, and nothing is run.

#[cfg(feature = "timing")]
mod fixed;

#[cfg(feature = "timing")]
fn main() {
    operations::main();
}

#[cfg(not(feature = "timing"))]
fn main() {
    eprintln!("built without the feature `timing`: `make timing` builds and runs this");
    std::process::exit(2);
}

#[cfg(feature = "timing")]
mod operations {
    use std::hint::black_box;

    use ocicrypt::keys::PrivateKey;
    use ocicrypt::keys::timing::{self, place};
    use ocicrypt::pkcs7;

    use super::fixed::Fixed;
    use super::mark;

    /// The operations by name. bench/timing.py runs all of them; `leak` is not constant in time, and has to
    /// be reported.
    const ALL: [(&str, fn()); 8] = [
        ("rsa-2048", || rsa(include_bytes!("../tests/data/keys/rsa-2048.pkcs8.der"))),
        ("rsa-3072", || rsa(include_bytes!("../tests/data/keys/rsa-3072.pkcs8.pem"))),
        ("p-256", || agreement(include_bytes!("../tests/data/keys/p-256.pkcs8.der"))),
        ("p-384", || agreement(include_bytes!("../tests/data/keys/p-384.pkcs8.der"))),
        ("p-521", || agreement(include_bytes!("../tests/data/keys/p-521.pkcs8.der"))),
        ("pkcs1v15", pkcs1v15),
        ("cbc-padding", cbc_padding),
        ("leak", leak),
    ];

    pub fn main() {
        let (_, run) = ALL[mark::operation(&ALL.map(|(name, _)| name))];
        run();
    }

    fn key(file: &[u8]) -> PrivateKey {
        PrivateKey::parse(file, None).keys.pop().expect("a key of the tests")
    }

    /// RSADP: the private exponent, the primes, what is computed from them, and the message are secret.
    fn rsa(file: &[u8]) {
        let key = key(file);
        timing::secrets(&key).into_iter().for_each(mark::undefined);
        let key = key.as_rsa().expect("an RSA key");
        let mut ciphertext = vec![0x5a; key.size()];
        ciphertext[0] = 0x2a;
        let message = timing::decrypt_raw(key, &ciphertext, &mut Fixed(1));
        black_box(message.is_ok());
    }

    /// ECDH with the key's own public point, computed anew.
    fn agreement(file: &[u8]) {
        let key = key(file);
        let point = timing::public_point(&key);
        let (x, y) = point.split_at(point.len() / 2);
        timing::secrets(&key).into_iter().for_each(mark::undefined);
        black_box(timing::agree(&key, x, y).is_some());
    }

    /// The encoded message is secret, with right padding and with wrong.
    fn pkcs1v15() {
        for second in [2, 1] {
            let encoded = [vec![0, second], vec![7; 237], vec![0], vec![9; 16]].concat();
            mark::undefined(place(&encoded[..]));
            black_box(timing::decode_pkcs1v15(&encoded, vec![3; 16]));
        }
    }

    fn cbc_padding() {
        for last in [4, 5] {
            let mut text = vec![4; 64];
            text[63] = last;
            mark::undefined(place(&text[..]));
            black_box(pkcs7::has_padding(text));
        }
    }

    fn leak() {
        let secret = vec![0x35; 8];
        mark::undefined(place(&secret[..]));
        let mut count = 0_u64;
        for byte in black_box(secret) {
            if byte & 1 == 1 {
                count = black_box(count).wrapping_mul(3);
            }
        }
        black_box(count);
    }
}

/// Under valgrind itself.
#[cfg(all(feature = "timing", target_arch = "x86_64"))]
mod mark {
    /// The place of the operation that the first argument names.
    pub fn operation(names: &[&str]) -> usize {
        let name = std::env::args().nth(1).unwrap_or_default();
        let place = names.iter().position(|known| *known == name);
        place.unwrap_or_else(|| panic!("`timing OPERATION`, one of: {}", names.join(" ")))
    }

    /// Marks memory as undefined: from here on memcheck reports each decision on what it holds.
    #[expect(unsafe_code, reason = "a client request of valgrind is a sequence of instructions")]
    pub fn undefined((memory, length): (*const u8, usize)) {
        /// `VG_USERREQ__MAKE_MEM_UNDEFINED` of valgrind's memcheck.h.
        const MAKE_MEM_UNDEFINED: u64 = 0x4d43_0001;
        let request = [MAKE_MEM_UNDEFINED, memory as u64, length as u64, 0, 0, 0];
        // SAFETY: outside of valgrind the instructions turn a register once around and exchange another
        // with itself; valgrind recognises them and reads the six words, which outlive the block.
        unsafe {
            std::arch::asm!(
                "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
                in("rax") request.as_ptr(), inout("rdx") 0_u64 => _, options(nostack),
            );
        }
    }
}

/// By the host.
#[cfg(all(feature = "timing", target_family = "wasm"))]
mod mark {
    #[expect(unsafe_code, reason = "imports")]
    #[link(wasm_import_module = "timing")]
    unsafe extern "C" {
        #[link_name = "operation"]
        safe fn chosen() -> usize;
        #[link_name = "undefined"]
        safe fn mark(memory: *const u8, length: usize);
    }

    /// The place of the operation that the host wants.
    pub fn operation(_: &[&str]) -> usize {
        chosen()
    }

    /// Marks memory as undefined: from here on memcheck reports each decision on what it holds.
    pub fn undefined((memory, length): (*const u8, usize)) {
        mark(memory, length);
    }
}
