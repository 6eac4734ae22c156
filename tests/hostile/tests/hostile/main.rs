//! A test for each fixture: what it tries is refused, as containerd would see it.
//!
//! After every attack [`Attack::is_refused`] looks at the same things: exit code 1; no layer on
//! standard output, not even in part if it is short, and no byte that is not the layer's; one
//! error, without control characters or key material; memory; the files; and that it ends at all.
//! The words of a test must occur in the message of the fixture or the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use keycell_hostile::attack::Attack;
use keycell_hostile::keys::Keys;
use keycell_hostile::layer::{LARGE, Layer, SMALL};
use keycell_hostile::{for_each_fixture, guest};
use keycell_tests::decoder::Decoder;
use keycell_tests::events;
use keycell_tests::jwe::Recipient;
use keycell_tests::sealed::Sealed;
use tempfile::TempDir;

use self::decrypt::*;

/// A fixture without a test does not compile.
macro_rules! has_a_test {
    ($name:ident) => {
        const _: fn() -> Result<()> = $name;
    };
}
for_each_fixture!(has_a_test);

fn attack(fixture: &str) -> Attack {
    let meter = Path::new(env!("CARGO_BIN_EXE_hostile-meter"));
    Attack::new(Path::new(env!("CARGO_BIN_EXE_hostile-decoder")), fixture).measured(meter)
}

/// The tests whose fixture reports its attempts: all of them refused.
macro_rules! refused {
    ($($name:ident: [$($words:expr),+ $(,)?];)+) => {$(
        #[test]
        pub(crate) fn $name() -> Result<()> {
            attack(stringify!($name)).is_refused(&[$($words),+])
        }
    )+};
}

mod decrypt;

// The harness itself.

#[test]
fn friendly() -> Result<()> {
    attack("friendly").succeeds()
}

/// The same program with the guest that `ctd-decoder` has, on what containerd would give it.
#[test]
fn the_real_guest_beside_them() -> Result<()> {
    let keys = TempDir::with_prefix("keycell-friendly-")?;
    let recipient = Recipient::generate();
    fs::write(keys.path().join("key.pem"), recipient.private_pem())?;
    for length in [SMALL, LARGE] {
        let layer = Sealed::of_length(length);
        let decoder = Decoder::at(Path::new(env!("CARGO_BIN_EXE_hostile-decoder")))
            .env(guest::GUEST, guest::EMBEDDED)
            .keys(keys.path())
            .payload(layer.payload_for(&recipient).bytes())
            .layer(layer.encrypted.clone());
        decoder.run()?.is_silent_success(&layer.plain)?;
    }
    Ok(())
}

#[test]
fn probe() -> Result<()> {
    attack("probe").succeeds()?;
    let table = Command::new(env!("CARGO_BIN_EXE_probe")).output()?;
    let table = (table.status, String::from_utf8_lossy(&table.stdout).into_owned());
    ensure!(table.0.success(), "{}: {}", table.0, table.1);
    Ok(())
}

// Files: `/keys` in `unwrap`, to read; nothing else.

refused! {
    unwrap_reads_absolute: ["/etc/passwd: refused", "list /etc/passwd: refused", "/: refused"];
    unwrap_reads_parent: [
        "/keys/../outside/secret: refused",
        "open-at ../outside/secret: refused",
        "open-at sub/../../outside/secret: refused",
        "stat-at ..: refused",
        "open-at /etc/passwd: refused",
    ];
    unwrap_reads_through_links: [
        "relative: refused",
        "absolute: refused",
        "directory/secret: refused",
        "twice: refused",
        "proc/environ: refused",
        "list directory: refused",
    ];
    unwrap_writes_keys: [
        "create: refused",
        "overwrite: refused",
        "append: refused",
        "truncate: refused",
        "set-size: refused",
        "rename: refused",
        "hard-link: refused",
        "unlink: refused",
        "create-directory: refused",
        "remove-directory: refused",
        "set-times: refused",
        "set-times-at: refused",
        "symlink: refused",
        "open-at key.pem OpenFlags(TRUNCATE): refused",
        "mutate: refused",
        "write-via-stream: refused",
        "append-via-stream: refused",
        "write: refused",
    ];
    decrypt_reads_keys: [
        "/keys/key.pem: refused",
        "list /keys: refused",
        "/dev/fd/3: refused",
        "directories: refused",
        "stdin: refused",
        "stdout: refused",
    ];
}

/// RUSTSEC-2026-0269. With `openat2` the kernel keeps within the directory; without it the library does, and Landlock
/// is the second wall; without Landlock `openat2` is not there either, and the library is all there is.
#[test]
fn unwrap_follows_trailing_slashes() -> Result<()> {
    let words = [
        "list links/directory/: refused",
        "list links/slash: refused",
        "list links/chain: refused",
        "list links/chain/: refused",
        "list links/chain-of-chains/./: refused",
        "read links/chain/secret: refused",
        "read links/proc-slash/status: refused",
    ];
    let without = Path::new(env!("CARGO_BIN_EXE_hostile-without"));
    attack("unwrap_follows_trailing_slashes").is_refused(&words)?;
    for what in ["openat2", "landlock"] {
        let attack = attack("unwrap_follows_trailing_slashes").without(without, what);
        attack.is_refused(&words).map_err(|error| error.context(what))?;
    }
    Ok(())
}

/// Opening it would wait in the kernel, where the guest's clock does not tick, so it is refused at once.
#[test]
fn unwrap_opens_pipe() -> Result<()> {
    attack("unwrap_opens_pipe").with_special_files().seconds(1).is_refused(&[
        "read pipe: refused",
        "read link-to-pipe: refused",
        "read socket: refused",
        "read device: refused",
    ])
}

/// A wait in the kernel ends too: the host interrupts it.
#[test]
fn unwrap_opens_leased_file() -> Result<()> {
    let attack = attack("unwrap_opens_leased_file").with_lease().seconds(1);
    attack.is_refused_with(SMALL, &["a step of the guest did not end in time"])
}

/// The host also waits, before there is a guest, where it reads a single key file itself.
#[test]
fn a_leased_file_as_the_only_key() -> Result<()> {
    let (keys, layer) = (Keys::new()?, Layer::of(SMALL));
    let lease = keys.lease()?;
    let outcome = Decoder::at(Path::new(env!("CARGO_BIN_EXE_hostile-decoder")))
        .env(guest::GUEST, guest::EMBEDDED)
        .env(guest::SECONDS, "1")
        .keys(&keys.path().join("key.pem"))
        .arg("--log")
        .arg(keys.log())
        .payload(layer.payload(""))
        .stdin_stays_open()
        .run()?;
    drop(lease);
    let error = outcome.error_without_output()?;
    ensure!(error.contains("did not end in time"), "{error}");
    let event = events::of_layer(&keys.log())?;
    ensure!(event["verdict"] == "failed", "{event}");
    Ok(())
}

#[test]
fn unwrap_reads_by_stream() -> Result<()> {
    attack("unwrap_reads_by_stream").succeeds()
}

// Streams, environment, network, clocks, random numbers.

refused! {
    unwrap_writes_stdout: ["write: refused", "blocking-write: refused", "write-zeroes: refused"];
    unwrap_reads_stdin: ["read to the end: refused", "read: refused", "skip: refused"];
    unwrap_opens_cipher: ["open: refused (Refusal::NoLayer"];
    unwrap_reads_environment: ["variables: refused", "arguments: refused", "initial-cwd: refused"];
    decrypt_reads_environment: ["variables: refused", "arguments: refused", "initial-cwd: refused"];
    sockets: [
        "connect: refused", "connect to the node: refused", "listen: refused", "datagrams: refused",
        "look up: refused",
    ];
    unwrap_sleeps: ["clocks are not granted"];
    decrypt_sleeps: ["clocks are not granted"];
    unwrap_reads_the_clock: ["clocks are not granted"];
    unwrap_reads_access_times: [
        "key.pem: refused", "sub: refused", "links: refused", "/keys: refused",
        "opened key.pem: refused", "opened sub: refused", "the standard library's: refused",
    ];
    decrypt_asks_for_random: ["random numbers are not granted"];
    decrypt_asks_for_insecure_random: ["random numbers are not granted"];
    unwrap_asks_for_too_much_random: ["random numbers are not granted"];
    unwrap_remembers: ["remember: refused"];
    unwrap_asks_the_broker: [
        "provider: refused (Refusal::NotConfigured)", "nameless provider: refused", "list: refused",
        "; token: refused (Refusal::NotConfigured)",
        "given token: refused (Refusal::NotConfigured)",
    ];
}

#[test]
fn decrypt_asks_the_broker() -> Result<()> {
    attack("decrypt_asks_the_broker").with_provider().is_refused(&[
        "provider: refused (Refusal::NotConfigured)",
        "list: refused",
        "; token: refused (Refusal::NotConfigured)",
        "given token: refused (Refusal::NotConfigured)",
    ])
}

#[test]
fn unwrap_asks_without_end() -> Result<()> {
    attack("unwrap_asks_without_end").with_provider().is_refused(&["gave up after many keys"])
}

#[test]
fn unwrap_looks_for_pins() -> Result<()> {
    attack("unwrap_looks_for_pins").with_token().is_refused(&[
        "tokens: refused (\"pkcs11:token=node;object=images\")",
        "key.pem sub/nested.pem",
        "a PIN: refused",
    ])
}

/// Key files that no reader of YAML takes, and files that are none.
#[test]
fn unwrap_looks_for_pins_in_files_that_are_not_quite_key_files() -> Result<()> {
    let token = "pkcs11:\n  uri: pkcs11:object=a?pin-value=Pin-1234&module-name=softhsm2\n";
    let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let utf16: Vec<u8> = token.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let source = "pkcs11: {uri: 'pkcs11:object=b?pin-source=PATH/pin.pem.pass&module-name=a'}";
    let mut attack = attack("unwrap_looks_for_pins").with_token();
    for (name, content) in [
        ("latin-1", [b"# Schl\xfcssel\n", token.as_bytes()].concat()),
        ("brace", b"{\"pkcs11\": {\"uri\": \"pkcs11:object=a?pin-value=Pin-1234\"}".to_vec()),
        ("tab", format!("module:\n\tenv: {{}}\n{token}").into()),
        ("mistyped", token.replace("pkcs11:\n", "pkcs-11:\n").into()),
        ("quoted", b"\"pkcs11\":\n  uri: \"pkcs11:object=a?pin-value=Pin-1234\n".to_vec()),
        ("empty-first", format!("---\n---\n{token}").into()),
        ("utf-16", utf16),
        ("escaped", br#""pkcs\u00311": {"uri": "pin\u002dvalue=Pin-1234"}"#.to_vec()),
        ("token.yaml~", b"uri: x\npin: Pin-1234\n".to_vec()),
        ("pin", b"Pin-1234\n".to_vec()),
        ("comment.pem", format!("# Pin-1234\n{pem}").into()),
        ("beside.pem", format!("{pem}{token}").into()),
        ("copied.pem", pem.into()),
        ("copied.pem.pass", b"Pin-1234\n".to_vec()),
        ("source.yaml", source.replace("PATH", "/nowhere").into()),
    ] {
        attack = attack.with_file(name, content);
    }
    let withheld = ["latin-1", "brace", "tab", "mistyped", "quoted", "empty-first", "utf-16"];
    let withheld = withheld.into_iter().chain(["escaped", "token.yaml~", "pin", "beside.pem"]);
    let told: Vec<_> = withheld.chain(["copied.pem.pass"]).map(|n| format!("over `{n}`")).collect();
    let mut words = vec!["comment.pem copied.pem key.pem sub/nested.pem", "a PIN: refused"];
    words.extend(told.iter().map(String::as_str));
    attack.is_refused(&words)
}

/// What they answer is for the operator: the guest gets numbers.
#[test]
fn unwrap_looks_for_paths() -> Result<()> {
    let token = |query: &str| format!("pkcs11: {{uri: 'pkcs11:token=node;object=images?{query}'}}");
    let attack = attack("unwrap_looks_for_paths").with_token().with_provider();
    attack
        .with_file("absent.yaml", token("module-path=/nowhere/module.so&pin-value=1"))
        .with_file("foreign.yaml", token("module-path=/usr/bin/ls&pin-value=1"))
        .with_file("no-pin.yaml", token("module-name=softhsm2&pin-source=/nowhere/pins/hsm-7"))
        .with_file("slipped.yaml", token("pin-value=1").replace('?', "&module-path=/nowhere/x.so?"))
        .is_refused(&[
            "a path: refused",
            "a difference: refused",
            "answers: refused (28)",
            // What the operator sees nevertheless.
            "there is no module `/nowhere/module.so`",
            "the module `/usr/bin/ls` is not allowed",
            "`/nowhere/program`",
            "cannot access '/nowhere/printed'",
            "the key file of a client was refused",
        ])
}

/// Its names for a genuine layer are arbitrary, but must not make the log unreadable.
#[test]
fn unwrap_names_a_key() -> Result<()> {
    attack("unwrap_names_a_key").succeeds()
}

// Memory, time, handles, messages.

/// 256 MiB for the guest and something for the host.
const FULL: u64 = 256 + 32;

#[test]
fn unwrap_allocates() -> Result<()> {
    attack("unwrap_allocates").memory(FULL).is_refused(&["memory: refused"])
}

#[test]
fn decrypt_allocates() -> Result<()> {
    attack("decrypt_allocates").memory(FULL).is_refused(&["memory: refused"])
}

#[test]
fn unwrap_fills_memories() -> Result<()> {
    attack("unwrap_fills_memories").memory(FULL).is_refused(&["memories: refused"])
}

#[test]
fn unwrap_loops() -> Result<()> {
    attack("unwrap_loops").seconds(1).is_refused(&["`unwrap`: it did not end in time"])
}

/// A caller may have blocked the timer's signal, or ignored it.
#[test]
fn loops_where_signals_are_blocked_or_ignored() -> Result<()> {
    for words in [&["env", "--block-signal"][..], &["env", "--ignore-signal"]] {
        for (fixture, step) in [("unwrap_loops", "`unwrap`"), ("decrypt_loops", "`decrypt`")] {
            let attack = attack(fixture).started_by(words).seconds(1);
            attack.is_refused_with(SMALL, &[step, "it did not end in time"])?;
        }
    }
    let attack = attack("unwrap_opens_leased_file").started_by(&["env", "--block-signal"]);
    attack.with_lease().seconds(1).is_refused_with(SMALL, &["did not end in time"])
}

#[test]
fn loops_at_start() -> Result<()> {
    attack("loops_at_start").seconds(1).is_refused(&["`unwrap`: it did not end in time"])
}

#[test]
fn decrypt_loops() -> Result<()> {
    attack("decrypt_loops").seconds(1).is_refused(&["`decrypt`: it did not end in time"])
}

#[test]
fn decrypt_loops_at_the_end() -> Result<()> {
    let attack = attack("decrypt_loops_at_the_end").seconds(1);
    attack.is_refused(&["`decrypt`: it did not end in time"])
}

/// The embedded guest compares no epoch: the process ends instead.
#[test]
fn guests_that_cannot_be_trapped() -> Result<()> {
    for fixture in [
        "unwrap_loops",
        "decrypt_loops",
        "decrypt_loops_at_the_end",
        "decrypt_writes_nothing",
        "decrypt_reads_nothing",
    ] {
        let attack = attack(fixture).uninterrupted().seconds(1);
        attack.is_refused_with(SMALL, &["a step of the guest did not end in time"])?;
    }
    Ok(())
}

#[test]
fn decrypt_writes_nothing() -> Result<()> {
    let attack = attack("decrypt_writes_nothing").seconds(1);
    attack.is_refused(&["`decrypt`: it did not end in time"])
}

#[test]
fn decrypt_reads_nothing() -> Result<()> {
    let attack = attack("decrypt_reads_nothing").seconds(1);
    attack.is_refused(&["`decrypt`: it did not end in time"])
}

refused! {
    unwrap_recurses: ["`unwrap`: it trapped"];
    unwrap_opens_thousands: ["`unwrap`"];
    unwrap_holds_thousands: ["`unwrap`"];
    unwrap_floods_stderr: ["flooded", "forged"];
    decrypt_floods_stderr: ["flooded", "forged"];
    unwrap_floods_lines: ["flooded"];
}

// What `unwrap` answers.

#[test]
fn unwrap_returns_malformed_keys() -> Result<()> {
    let variants = [
        ("short key", "key"),
        ("long key", "key"),
        ("no key", "key"),
        ("short nonce", "nonce"),
        ("long nonce", "nonce"),
        ("short hmac", "HMAC"),
        ("no hmac", "HMAC"),
        ("unknown cipher", "cipher"),
        ("no cipher", "cipher"),
        ("long cipher", "cipher"),
        ("short digest", "digest"),
        ("unknown digest", "digest"),
        ("empty digest", "digest"),
        ("digest of letters", "digest"),
        ("other digest", "digest"),
        ("short length", "longer than"),
        ("no length at all", "longer than"),
        ("huge key", "`unwrap`"),
    ];
    for (note, word) in variants {
        let attack = attack("unwrap_returns_malformed_keys").note(note);
        // One variant fills half of the guest's memory, with what the host does not take over.
        attack.memory(FULL).is_refused(&[word]).map_err(|error| error.context(note))?;
    }
    Ok(())
}

#[test]
fn unwrap_returns_many_keys() -> Result<()> {
    for (note, words) in [("none", "returned 0 layer keys"), ("two", "2 layer keys"), ("", "17")] {
        attack("unwrap_returns_many_keys").note(note).is_refused(&[words])?;
    }
    Ok(())
}

refused! {
    unwrap_names_manifests: ["a layer key of manifests that there are not"];
    unwrap_answers_out_of_bounds: ["`unwrap`"];
    unwrap_fails_with_control_characters: ["bad "];
    unwrap_fails_with_a_key: ["cannot parse"];
    unwrap_panics: ["`unwrap`"];
    unwrap_panics_without_libc: ["it last said: last words, and HOME is Err(NotPresent)"];
    unwrap_exits: ["`unwrap`"];
}

#[test]
fn unwrap_fails_at_length() -> Result<()> {
    let variants =
        [("message", "mé mé"), ("huge message", "`unwrap`"), ("hints", "many"), ("", "empty")];
    for (note, word) in variants {
        let attack = attack("unwrap_fails_at_length").note(note);
        attack.memory(FULL).is_refused(&[word]).map_err(|error| error.context(note))?;
    }
    Ok(())
}

/// The host cannot know before it has read the whole layer: the output is garbled.
#[test]
fn unwrap_returns_other_key() -> Result<()> {
    attack("unwrap_returns_other_key").garbled().is_refused(&["HMAC"])
}

/// Nobody would notice a failure without a message.
#[test]
fn unwrap_fails_silently() -> Result<()> {
    for note in ["", " ", "\n\t", "\u{200b}"] {
        attack("unwrap_fails_silently").note(note).is_refused(&["does not say why"])?;
    }
    Ok(())
}
