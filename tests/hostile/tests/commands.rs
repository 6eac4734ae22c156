//! Hostile command guests: WASI commands that were installed like any other, and go against what
//! a command is granted. The same things hold after them as after the others.
//!
//! Each is a few lines of WebAssembly's text after [`PRELUDE`]; the layer "decrypted" is the
//! encrypted one, since it is not the plaintext that they are after.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use keycell_hostile::attack::Attack;
use keycell_hostile::layer::{LARGE, SMALL};
use tempfile::TempDir;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER_NAME,
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as ADAPTER,
};
use wit_component::ComponentEncoder;

/// What the commands share: WASI's functions, and the framed payload on standard input.
const PRELUDE: &str = r#"
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir"
    (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get"
    (func $filestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $path_filestat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread"
    (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 4)
  (data (i32.const 512) "refused: it is not granted\n")
  (data (i32.const 544) "HARM: it was granted\n")
  (data (i32.const 576) "bad: error: the layer is not genuine\nhint: encrypt it again\n")
  (data (i32.const 640) "../outside/secret")
  (data (i32.const 660) "/etc/passwd")
  (data (i32.const 680) "key.pem")
  (data (i32.const 690) "new")
  (data (i32.const 700) "..")
  (data (i32.const 706) "pipe")
  (data (i32.const 810) "link-to-pipe")
  (data (i32.const 830) "socket")
  (data (i32.const 840) "device")
  (data (i32.const 720) "runtime: out of memory\nfatal error: heap is full\n\ngoroutine 1:\n\tmain.go:7 +0x1\n")
  ;; Reads at most `length` bytes of standard input to 65536: how many came.
  (func $read (param $length i32) (result i32)
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (local.get $length))
    (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (call $exit (i32.const 9))))
    (i32.load (i32.const 8)))
  ;; Writes `length` bytes from `from` to a descriptor, all of them.
  (func $put (param $descriptor i32) (param $from i32) (param $length i32)
    (loop $more
      (i32.store (i32.const 0) (local.get $from))
      (i32.store (i32.const 4) (local.get $length))
      (if (call $fd_write (local.get $descriptor) (i32.const 0) (i32.const 1) (i32.const 8))
        (then (call $exit (i32.const 8))))
      (local.set $from (i32.add (local.get $from) (i32.load (i32.const 8))))
      (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
      (br_if $more (i32.gt_s (local.get $length) (i32.const 0)))))
  (func $refused (call $put (i32.const 2) (i32.const 512) (i32.const 27)))
  (func $harm (call $put (i32.const 2) (i32.const 544) (i32.const 21)))
  ;; An attempt that gave back this number: 0 is success.
  (func $attempt (param $errno i32)
    (if (local.get $errno) (then (call $refused)) (else (call $harm))))
  ;; Reads the payload: its length, and as many bytes.
  (func $payload (local $left i32) (local $byte i32)
    (loop $length
      (drop (call $read (i32.const 1)))
      (local.set $left (i32.or (i32.shl (local.get $left) (i32.const 8))
        (i32.load8_u (i32.const 65536))))
      (local.set $byte (i32.add (local.get $byte) (i32.const 1)))
      (br_if $length (i32.lt_u (local.get $byte) (i32.const 4))))
    (loop $bytes
      (local.set $left (i32.sub (local.get $left) (call $read (local.get $left))))
      (br_if $bytes (i32.gt_s (local.get $left) (i32.const 0)))))
  ;; Copies the layer to its end.
  (func $copy (local $length i32)
    (loop $more
      (local.set $length (call $read (i32.const 65536)))
      (if (local.get $length)
        (then
          (call $put (i32.const 1) (i32.const 65536) (local.get $length))
          (br $more)))))
  ;; Opens `length` bytes of path at `path` below the keys directory.
  (func $open (param $path i32) (param $length i32) (param $flags i32) (param $rights i64)
    (result i32)
    (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $length)
      (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 16)))
  ;; Opens it to be read: refused or not.
  (func $opens (param $path i32) (param $length i32)
    (call $attempt (call $open (local.get $path) (local.get $length) (i32.const 0) (i64.const 2))))
  ;; The `filestat` at 896 has a size and no times.
  (func $timeless
    (call $attempt (i64.gt_u (i64.load (i32.const 928)) (i64.const 0)))
    (call $attempt (i64.eqz (i64.load (i32.const 936))))
    (call $attempt (i64.eqz (i64.load (i32.const 944))))
    (call $attempt (i64.eqz (i64.load (i32.const 952)))))
"#;

/// What is said of those that take their time.
const LATE: &[&str] = &["it did not end in time"];

/// The commands, what each does after the prelude, and what has to be said of it.
const COMMANDS: &[(&str, &str, &[&str])] = &[
    (
        "writes-more-than-it-read",
        "(call $payload) (call $copy) (call $put (i32.const 1) (i32.const 512) (i32.const 1))",
        &["it wrote more bytes than it was given"],
    ),
    (
        "writes-before-it-reads",
        "(call $payload) (call $put (i32.const 1) (i32.const 512) (i32.const 1)) (call $copy)",
        &["it wrote more bytes than it was given"],
    ),
    (
        "writes-the-payload",
        "(call $payload) (call $put (i32.const 1) (i32.const 65536) (i32.const 88))",
        &["it wrote more bytes than it was given"],
    ),
    (
        "never-reads",
        "(call $exit (i32.const 0))",
        &["it ended with exit code 0 before it had read the whole layer"],
    ),
    (
        "exits-early",
        "(call $payload) (call $put (i32.const 1) (i32.const 65536) (call $read (i32.const 65536)))
         (call $exit (i32.const 0))",
        &["it ended with exit code 0 before it had read the whole layer"],
    ),
    (
        "traps-at-the-end",
        "(call $payload) (call $copy) unreachable",
        &["it trapped: wasm trap: wasm `unreachable` instruction executed"],
    ),
    (
        "fails-at-the-end",
        "(call $payload) (call $copy) (call $put (i32.const 2) (i32.const 576) (i32.const 60))
         (call $exit (i32.const 1))",
        &["failed: the layer is not genuine", "hint: encrypt it again"],
    ),
    (
        "fails-silently",
        "(call $payload) (call $copy) (call $exit (i32.const 7))",
        &["failed with exit code 7 and does not say why"],
    ),
    ("loops-at-the-end", "(call $payload) (call $copy) (loop $l (br $l))", LATE),
    ("loops-at-the-start", "(loop $l (br $l))", LATE),
    (
        "sleeps-for-ever",
        // A subscription to the monotonic clock in 2^60 nanoseconds.
        "(i32.store (i32.const 144) (i32.const 1))
         (i64.store (i32.const 152) (i64.const 1152921504606846976))
         (loop $l (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 8)))
           (br $l))",
        LATE,
    ),
    (
        "floods-standard-error",
        "(loop $l (call $refused) (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $n) (i32.const 20000))))
         (call $exit (i32.const 1))",
        &["failed: "],
    ),
    (
        "eats-memory",
        "(loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 1024)) (i32.const 0)))) unreachable",
        &["needs more than 256 MiB of memory"],
    ),
    (
        "reads-outside",
        "(call $attempt (call $open (i32.const 640) (i32.const 17) (i32.const 0) (i64.const 2)))
         (call $attempt (call $open (i32.const 660) (i32.const 11) (i32.const 0) (i64.const 2)))
         (call $attempt (call $open (i32.const 700) (i32.const 2) (i32.const 2) (i64.const 2)))
         (call $attempt (call $readdir (i32.const 4) (i32.const 65536) (i32.const 4096)
           (i64.const 0) (i32.const 8)))
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "writes-keys",
        // O_CREAT, O_TRUNC; to write.
        "(call $attempt (call $open (i32.const 690) (i32.const 3) (i32.const 1) (i64.const 64)))
         (call $attempt (call $open (i32.const 680) (i32.const 7) (i32.const 8) (i64.const 64)))
         (call $attempt (call $open (i32.const 680) (i32.const 7) (i32.const 0) (i64.const 64)))
         (call $attempt (call $unlink (i32.const 3) (i32.const 680) (i32.const 7)))
         (call $attempt (call $mkdir (i32.const 3) (i32.const 690) (i32.const 3)))
         (call $attempt (i32.eqz (call $open (i32.const 680) (i32.const 7) (i32.const 0)
           (i64.const 2))))
         (i32.store (i32.const 32) (i32.const 512))
         (i32.store (i32.const 36) (i32.const 1))
         (call $attempt (call $fd_write (i32.load (i32.const 16)) (i32.const 32) (i32.const 1)
           (i32.const 8)))
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "opens-a-pipe",
        // After it has read some of the layer.
        "(call $payload) (drop (call $read (i32.const 100)))
         (call $opens (i32.const 706) (i32.const 4))
         (call $opens (i32.const 810) (i32.const 12))
         (call $opens (i32.const 830) (i32.const 6))
         (call $opens (i32.const 840) (i32.const 6))
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "reads-the-times",
        "(drop (call $path_filestat (i32.const 3) (i32.const 1) (i32.const 680) (i32.const 7)
           (i32.const 896)))
         (call $timeless)
         (drop (call $open (i32.const 680) (i32.const 7) (i32.const 0) (i64.const 2)))
         (memory.fill (i32.const 896) (i32.const 255) (i32.const 64))
         (drop (call $filestat (i32.load (i32.const 16)) (i32.const 896)))
         (call $timeless)
         (drop (call $filestat (i32.const 3) (i32.const 896)))
         (call $timeless)
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "reads-in-the-middle",
        // Eleven bytes of the key, from its beginning: `-----BEGIN `.
        "(drop (call $open (i32.const 680) (i32.const 7) (i32.const 0) (i64.const 2)))
         (i32.store (i32.const 0) (i32.const 65536))
         (i32.store (i32.const 4) (i32.const 11))
         (call $attempt (i32.eqz (call $fd_pread (i32.load (i32.const 16)) (i32.const 0)
           (i32.const 1) (i64.const 5) (i32.const 8))))
         (call $attempt (i32.eq (i32.load8_u (i32.const 65536)) (i32.const 66)))
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "looks-around",
        // No variable; three arguments; a clock that is in the first second of 1970.
        "(drop (call $environ (i32.const 16) (i32.const 20)))
         (call $attempt (i32.eqz (i32.load (i32.const 16))))
         (drop (call $args (i32.const 16) (i32.const 20)))
         (call $attempt (i32.eq (i32.load (i32.const 16)) (i32.const 3)))
         (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 24)))
         (call $attempt (i64.lt_u (i64.load (i32.const 24)) (i64.const 1000000000)))
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
];

/// What only core modules do, whose functions are not those of a component: what each imports
/// beside the prelude, what it does, and what has to be said of it.
const CORE_COMMANDS: &[(&str, &str, &str, &[&str])] = &[
    (
        "tries-sockets",
        r#"(import "wasi_snapshot_preview1" "sock_accept"
             (func $accept (param i32 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "sock_recv"
             (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "sock_send"
             (func $send (param i32 i32 i32 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "sock_shutdown"
             (func $shutdown (param i32 i32) (result i32)))"#,
        "(loop $l
           (call $attempt (call $accept (local.get $n) (i32.const 0) (i32.const 8)))
           (call $attempt (call $recv (local.get $n) (i32.const 0) (i32.const 1) (i32.const 0)
             (i32.const 8) (i32.const 12)))
           (call $attempt (call $send (local.get $n) (i32.const 0) (i32.const 1) (i32.const 0)
             (i32.const 8)))
           (call $attempt (call $shutdown (local.get $n) (i32.const 2)))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $n) (i32.const 8))))
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "raises-a-signal",
        r#"(import "wasi_snapshot_preview1" "proc_raise" (func $raise (param i32) (result i32)))"#,
        "(call $attempt (call $raise (i32.const 9))) (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "exits-with-no-exit-code",
        "",
        "(call $payload) (call $copy) (call $exit (i32.const 256))",
        &["exit with invalid exit status"],
    ),
    (
        "asks-for-too-much-random",
        r#"(import "wasi_snapshot_preview1" "random_get"
             (func $random (param i32 i32) (result i32)))"#,
        "(if (call $random (i32.const 65536) (i32.const 16)) (then unreachable))
         (call $attempt (call $random (i32.const 65536) (i32.const 100000)))",
        &["random numbers are not granted to this step"],
    ),
    (
        "polls-outside-of-its-memory",
        "",
        "(drop (call $poll (i32.const -16) (i32.const 256) (i32.const 1) (i32.const 8)))",
        &["it passed an address outside of its memory"],
    ),
    (
        "polls-without-end",
        "",
        "(drop (call $poll (i32.const 128) (i32.const 256) (i32.const -1) (i32.const 8)))",
        &["it passed an address outside of its memory"],
    ),
    (
        "polls-nothing",
        "",
        "(call $attempt (call $poll (i32.const 128) (i32.const 256) (i32.const 0) (i32.const 8)))
         (call $exit (i32.const 1))",
        &["failed: refused: it is not granted"],
    ),
    (
        "sleeps-until-the-end-of-time",
        "",
        // At once a time of day and standard input, which is ready: it comes first.
        "(i32.store (i32.const 144) (i32.const 0))
         (i64.store (i32.const 152) (i64.const -1))
         (i32.store (i32.const 168) (i32.const 1))
         (i32.store8 (i32.const 184) (i32.const 1))
         (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 2) (i32.const 8)))
         (call $attempt (i32.eq (i32.load (i32.const 8)) (i32.const 1)))
         (call $attempt (i32.eq (i32.load8_u (i32.const 266)) (i32.const 1)))
         (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 24)))
         (call $attempt (i64.lt_u (i64.load (i32.const 24)) (i64.const 1000000000)))
         (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 8)))
         (loop $l (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 8)))
           (br $l))",
        LATE,
    ),
    (
        "dies-like-go",
        "",
        "(call $put (i32.const 2) (i32.const 720) (i32.const 79)) (call $exit (i32.const 2))",
        &["failed: fatal error: heap is full"],
    ),
];

/// A store with all of them, and one that behaves. Components have the suffix `-component`.
fn store() -> Result<&'static Path> {
    static STORE: OnceLock<Result<(TempDir, PathBuf), String>> = OnceLock::new();
    let made = STORE.get_or_init(|| installed().map_err(|error| format!("{error:#}")));
    made.as_ref().map(|(_, path)| path.as_path()).map_err(|error| anyhow!("{error}"))
}

fn installed() -> Result<(TempDir, PathBuf)> {
    let dir = TempDir::with_prefix("keycell-commands-")?;
    let store = dir.path().join("store");
    let install = |name: &str, wasm: &[u8]| {
        let file = dir.path().join(name).with_extension("wasm");
        fs::write(&file, wasm)?;
        let mut keycell = Command::new(keycell_tests::dist("keycell")?);
        let done = keycell.args(["guest", "install", "--store"]).arg(&store).arg(&file).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{name}: {said}");
        Ok(())
    };
    let both = COMMANDS.iter().map(|&(name, body, _)| (name, "", body));
    let friendly = ("copies", "", "(call $payload) (call $copy)");
    let leased = (
        LEASED,
        "",
        "(call $payload) (drop (call $read (i32.const 100)))
         (drop (call $open (i32.const 680) (i32.const 7) (i32.const 0) (i64.const 2))) unreachable",
    );
    for (name, imports, body) in both.chain([friendly, leased]) {
        let module = module(imports, body).with_context(|| name.to_owned())?;
        install(name, &module)?;
        install(&format!("{name}{COMPONENT}"), &component(&module)?)?;
    }
    for (name, imports, body, _) in CORE_COMMANDS {
        install(name, &module(imports, body).with_context(|| (*name).to_owned())?)?;
    }
    Ok((dir, store))
}

const COMPONENT: &str = "-component";

/// Opens the key file, on which there is a lease.
const LEASED: &str = "opens-a-leased-file";

fn module(imports: &str, body: &str) -> Result<Vec<u8>> {
    let start = format!("(func (export \"_start\") (local $n i32) {body})");
    Ok(wat::parse_str(format!("(module {imports} {PRELUDE} {start})"))?)
}

/// The same as a component, with what makes WASI 0.2 of WASI 0.1.
fn component(module: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    encoder.module(module)?.adapter(ADAPTER_NAME, ADAPTER)?.validate(true).encode()
}

fn attack(name: &str) -> Result<Attack> {
    let meter = Path::new(env!("CARGO_BIN_EXE_hostile-meter"));
    let attack = Attack::new(Path::new(env!("CARGO_BIN_EXE_hostile-decoder")), name);
    Ok(attack.measured(meter).installed_in(store()?).with_special_files().seconds(1))
}

/// The harness itself: the output equals the input, and there is no message.
#[test]
fn a_command_that_behaves() -> Result<()> {
    for name in ["copies".to_owned(), format!("copies{COMPONENT}")] {
        let seen = attack(&name)?.run(LARGE)?;
        seen.outcome.is_silent_success(&seen.layer.encrypted).context(name)?;
    }
    Ok(())
}

#[test]
fn modules_are_refused() -> Result<()> {
    let both = COMMANDS.iter().map(|&(name, _, words)| (name, words));
    let core = CORE_COMMANDS.iter().map(|&(name, _, _, words)| (name, words));
    both.chain(core).try_for_each(|(name, words)| refused(name, words))
}

/// No clock ticks while the kernel waits, also after the guest has read some of the layer; and a caller
/// may have blocked the clock's signal.
#[test]
fn waiting_in_the_kernel_is_ended() -> Result<()> {
    for name in [LEASED.to_owned(), format!("{LEASED}{COMPONENT}")] {
        let attack = || -> Result<Attack> { Ok(attack(&name)?.with_lease()) };
        attack()?.is_refused_with(LARGE, &["a step of the guest did not end in time"])?;
        let blocked = attack()?.started_by(&["env", "--block-signal"]);
        blocked.is_refused_with(LARGE, &["a step of the guest did not end in time"])?;
    }
    Ok(())
}

#[test]
fn loops_where_signals_are_blocked_are_ended() -> Result<()> {
    for words in [&["env", "--block-signal"][..], &["env", "--ignore-signal"]] {
        for name in ["loops-at-the-start", "loops-at-the-end"] {
            attack(name)?.started_by(words).is_refused_with(LARGE, LATE)?;
        }
    }
    Ok(())
}

#[test]
fn components_are_refused() -> Result<()> {
    for &(name, _, words) in COMMANDS {
        // A component ends well or not: it has no exit code to give.
        let words: Vec<_> = words.iter().map(|word| word.replace("code 7", "code 1")).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        refused(&format!("{name}{COMPONENT}"), &words)?;
    }
    Ok(())
}

fn refused(name: &str, words: &[&str]) -> Result<()> {
    let attack = attack(name)?;
    let lengths = if words == LATE { &[LARGE][..] } else { &[SMALL, LARGE] };
    for &length in lengths {
        attack.is_refused_with(length, words).with_context(|| name.to_owned())?;
    }
    Ok(())
}
