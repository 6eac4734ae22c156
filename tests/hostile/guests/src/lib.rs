//! What the hostile fixtures share: the contract, a friendly decoder to fall back on, and a way
//! to tell the host test what an attempt came to.
//!
//! Each file in `examples/` is one guest that goes against one promise of `wit/decoder.wit`. It
//! overrides the step that it attacks and behaves in the other. It decides nothing: an attempt
//! that was refused is reported in words, and one that succeeded as `HARM`. `tests/hostile/`
//! has a test of the same name for each.

use std::fmt::Debug;

pub use bindings::exports::keycell::decoder::decrypting::{self, Output};
pub use bindings::exports::keycell::decoder::unwrapping;
pub use bindings::keycell::decoder::cipher::{self, Refusal};
pub use bindings::keycell::decoder::providers;
pub use bindings::keycell::decoder::tokens::{self, OaepHash, TokenKey};
pub use bindings::keycell::decoder::types::{
    Failure, LayerKey, Opened, Origin, Request, Unwrapped,
};
pub use bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// The two steps. What a fixture does not attack does what it should.
pub trait Fixture {
    /// The first step.
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        Ok(key_in(&request))
    }

    /// How often it returns the key.
    fn copies(_: &Request) -> usize {
        1
    }

    /// What it says about the first step.
    fn opened() -> Opened {
        let key = "fixture".to_owned();
        let scheme = "none".to_owned();
        Opened { scheme, key, fingerprint: None, layer_digest: None, algorithms: Vec::new() }
    }

    /// The manifests that it says have given the key.
    fn manifests() -> Vec<u32> {
        Vec::new()
    }

    /// The second step.
    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        copy(&open(source)?, &sink)
    }

    /// The second step, with what the host wants. It is the same in most fixtures.
    fn decrypt_into(source: InputStream, sink: OutputStream, _: Output) -> Result<(), Failure> {
        Self::decrypt(source, sink)
    }
}

impl<T: Fixture> unwrapping::Guest for T {
    fn unwrap(request: Request) -> Result<Vec<Unwrapped>, Failure> {
        let copies = T::copies(&request);
        let key = T::unwrap(request)?;
        let record =
            |_| Unwrapped { key: key.clone(), opened: T::opened(), manifests: T::manifests() };
        Ok((0..copies).map(record).collect())
    }
}

impl<T: Fixture> decrypting::Guest for T {
    fn decrypt(source: InputStream, sink: OutputStream, output: Output) -> Result<(), Failure> {
        T::decrypt_into(source, sink, output)
    }
}

/// Makes the fixture a component.
#[macro_export]
macro_rules! fixture {
    ($name:ident) => {
        $crate::bindings::export!($name with_types_in $crate::bindings);
    };
}

/// The harness's payload holds the layer key as it is: 32 bytes of key, 16 of nonce, 32 of
/// HMAC, 8 of the layer's length in little-endian order.
///
/// # Panics
/// On a shorter payload.
pub fn key_in(request: &Request) -> LayerKey {
    let payload = payload(request);
    LayerKey {
        cipher: "AES_256_CTR_HMAC_SHA256".to_owned(),
        key: payload[..32].to_vec(),
        nonce: payload[32..48].to_vec(),
        hmac: payload[48..80].to_vec(),
        digest: None,
        length: payload[80..88].try_into().map(u64::from_le_bytes).ok(),
    }
}

/// The payload; nothing where there is none.
pub fn payload(request: &Request) -> &[u8] {
    match &request.origin {
        Origin::Payload(payload) => payload,
        Origin::Stored(_) => &[],
    }
}

/// What follows the key in the payload: which variant of an attack is wanted.
pub fn note(request: &Request) -> &str {
    str::from_utf8(&payload(request)[88..]).unwrap_or_default()
}

/// Opens the host's cipher.
///
/// # Errors
/// A refusal.
pub fn open(source: InputStream) -> Result<InputStream, Failure> {
    cipher::open(source).map_err(|refusal| failure(&format!("cipher: refused ({refusal:?})")))
}

/// Splices to the end.
///
/// # Errors
/// A stream that fails.
pub fn copy(plain: &InputStream, sink: &OutputStream) -> Result<(), Failure> {
    loop {
        match sink.blocking_splice(plain, 1 << 16) {
            Ok(_) => {}
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(failure(&format!("splice: refused ({error:?})"))),
        }
    }
}

/// A failure with this message.
pub fn failure(message: &str) -> Failure {
    failure_with_hints(message.to_owned(), Vec::new())
}

/// A failure with this message and these hints.
pub fn failure_with_hints(message: String, hints: Vec<String>) -> Failure {
    Failure { message, hints, layer_digest: None, refusals: Vec::new(), manifests: Vec::new() }
}

/// What a fixture tried and what came of it.
#[derive(Default)]
pub struct Report(Vec<String>);

impl Report {
    /// Notes the outcome of an attempt.
    pub fn attempt<T, E: Debug>(&mut self, what: &str, result: Result<T, E>) {
        self.0.push(match result {
            Ok(_) => format!("{what}: HARM, it succeeded"),
            Err(error) => format!("{what}: refused ({error:?})"),
        });
    }

    /// The failure to end with.
    pub fn failure(self) -> Failure {
        failure(&self.0.join("; "))
    }

    /// Each attempt in a line.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

/// `Ok` if something was there to be had.
///
/// # Errors
/// On nothing.
pub fn found<T: IntoIterator>(things: T) -> Result<(), &'static str> {
    things.into_iter().next().map(drop).ok_or("there is nothing")
}

/// Asks for everything that the broker could do, and reports each attempt.
pub fn ask_the_broker() -> Report {
    let mut report = Report::default();
    report.attempt("provider", providers::unwrap("plain", b"wrapped", &[]));
    report.attempt("nameless provider", providers::unwrap("", b"", &[]));
    report.attempt("list", found(tokens::keys()));
    report.attempt("token", tokens::decrypt(&TokenKey::Configured(0), OaepHash::Sha1, b"blob"));
    let given = TokenKey::Given(KEY_FILE.to_vec());
    report.attempt("given token", tokens::decrypt(&given, OaepHash::Sha256, b"blob"));
    report
}

/// A PKCS#11 key file of a client that would like to load a library.
const KEY_FILE: &[u8] =
    b"pkcs11:\n  uri: pkcs11:token=a;object=b?pin-value=1&module-path=/usr/lib/libc.so.6\n";

/// Computes for ever.
pub fn spin() -> ! {
    let mut number = 0u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(6364136223846793005).wrapping_add(1));
    }
}

/// Asks for memory until there is no more, touches all of it, and says how much it was.
pub fn eat_memory() -> Failure {
    let (mut eaten, mut piece) = (Vec::new(), 16 << 20);
    let mut total = 0u64;
    while piece >= 1 << 16 {
        let mut more = Vec::<u8>::new();
        match more.try_reserve_exact(piece) {
            Ok(()) => {
                more.resize(piece, 0xa5);
                total += piece as u64;
                eaten.push(std::hint::black_box(more));
            }
            Err(_) => piece /= 2,
        }
    }
    failure(&format!("memory: refused (after {} MiB)", total >> 20))
}

#[allow(unsafe_code, missing_docs, reason = "generated: the calls across the component's edge")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "keycell:decoder/decoder",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "keycell_hostile_guests::bindings",
    });
}

/// The stream that WASI hands out, as the contract's type: the same resource of the same instance.
#[expect(unsafe_code, reason = "a handle changes from one binding's type to the other's")]
pub fn of_contract(stream: wasip2::io::streams::InputStream) -> InputStream {
    // SAFETY: the handle is taken from its only owner, and both types are `wasi:io/streams`.
    unsafe { InputStream::from_handle(stream.take_handle()) }
}
