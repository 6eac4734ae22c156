//! Tries everything that is forbidden, in both instances, and reports each outcome in a line on standard
//! error: `unwrap: read /etc/passwd: refused (…)`. Then it does what it should.
//!
//! What ends the instance is tried only where the harness asks for it: with a number in the note
//! for `unwrap`, and in the first byte of the plain layer for `decrypt`.

use std::fs;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use keycell_hostile_guests::{
    Failure, Fixture, InputStream, LayerKey, OutputStream, Report, Request, cipher, copy,
    eat_memory, failure, fixture, found, key_in, note, of_contract, open, payload, spin,
};
use wasip2::clocks::monotonic_clock;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{NewTimestamp, PathFlags};
use wasip2::io::streams::StreamError;
use wasip2::random::random::get_random_bytes;

/// Set in `unwrap`, looked for in `decrypt`.
static BEEN_HERE: AtomicBool = AtomicBool::new(false);

struct Probe;

impl Fixture for Probe {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        BEEN_HERE.store(true, Ordering::Relaxed);
        match note(&request) {
            "1" => ends("unwrap: read the clock", || _ = monotonic_clock::now()),
            "2" => ends("unwrap: sleep", || monotonic_clock::subscribe_duration(1).block()),
            "3" => ends("unwrap: compute for ever", || spin()),
            "0" => unwrap(&request),
            _ => {}
        }
        Ok(key_in(&request))
    }

    fn decrypt(source: InputStream, sink: OutputStream) -> Result<(), Failure> {
        let plain = open(source)?;
        let first = plain.blocking_read(1).unwrap_or_default();
        let tag = first.first().copied().unwrap_or(u8::MAX);
        match tag {
            1 => ends("decrypt: read the clock", || _ = monotonic_clock::now()),
            2 => ends("decrypt: sleep", || monotonic_clock::subscribe_duration(1).block()),
            3 => ends("decrypt: compute for ever", || spin()),
            4 => ends("decrypt: take random numbers", || _ = get_random_bytes(16)),
            5 => return alter(&first, &plain, &sink),
            6 => return add(&first, &plain, &sink),
            7 => {
                eprintln!("decrypt: say `ok` without a layer: tried");
                return Ok(());
            }
            8 => return Err(another_source()),
            0 => decrypt(),
            _ => {}
        }
        if tag == 0 {
            let mut report = Report::default();
            let again = of_contract(wasip2::cli::stdin::get_stdin());
            report.attempt("open the cipher again", cipher::open(again));
            tell("decrypt", &report);
        }
        write(&sink, &first)?;
        copy(&plain, &sink)
    }
}

fixture!(Probe);

fn unwrap(request: &Request) {
    let mut report = Report::default();
    files(&mut report);
    for link in ["relative", "absolute", "directory/secret"] {
        report.attempt(
            &format!("read through the link {link}"),
            fs::read(format!("/keys/links/{link}")),
        );
    }
    report.attempt("read /keys/../outside/secret", fs::read("/keys/../outside/secret"));
    report.attempt("create a file in /keys", fs::write("/keys/new", "x"));
    report.attempt("overwrite a key", fs::write("/keys/key.pem", "x"));
    report.attempt("rename a key", fs::rename("/keys/key.pem", "/keys/other.pem"));
    report.attempt("link to a key", fs::hard_link("/keys/key.pem", "/keys/other.pem"));
    report.attempt("remove a key", fs::remove_file("/keys/key.pem"));
    report.attempt("create a directory in /keys", fs::create_dir("/keys/made"));
    if let Some((keys, _)) = get_directories().first() {
        let now = NewTimestamp::Now;
        let times = keys.set_times_at(PathFlags::empty(), "key.pem", now, now);
        report.attempt("change the times of a key", times);
    }
    surroundings(&mut report);
    report.attempt("write the payload to stdout", to_stdout(payload(&request)));
    let source = of_contract(wasip2::cli::stdin::get_stdin());
    report.attempt("open the cipher", cipher::open(source));
    tell("unwrap", &report);
    eprintln!("unwrap: take memory without end: {}", outcome(&eat_memory()));
}

fn decrypt() {
    let mut report = Report::default();
    files(&mut report);
    report.attempt("read /keys/key.pem", fs::read("/keys/key.pem"));
    report.attempt("list /keys", fs::read_dir("/keys"));
    report.attempt("find any directory", found(get_directories()));
    report.attempt("read the payload on descriptor 3", fs::read("/dev/fd/3"));
    surroundings(&mut report);
    report.attempt("write to stdout directly", to_stdout(b"x"));
    let been = BEEN_HERE.load(Ordering::Relaxed);
    report.attempt("find what `unwrap` left in memory", found(been.then_some(())));
    tell("decrypt", &report);
    eprintln!("decrypt: take memory without end: {}", outcome(&eat_memory()));
}

fn files(report: &mut Report) {
    for path in ["/etc/passwd", "/proc/self/environ", "/"] {
        report.attempt(&format!("read {path}"), fs::read(path));
        report.attempt(&format!("list {path}"), fs::read_dir(path));
    }
}

fn surroundings(report: &mut Report) {
    report.attempt("find a variable", found(std::env::vars_os()));
    report.attempt("find an argument", found(std::env::args_os()));
    let mut bytes = Vec::new();
    let read = io::stdin().read_to_end(&mut bytes).map_err(|_| "it is closed");
    report.attempt("read stdin directly", read.and(found(&bytes)));
}

/// Past the buffer of the language's library, which takes anything.
fn to_stdout(bytes: &[u8]) -> Result<(), StreamError> {
    wasip2::cli::stdout::get_stdout().blocking_write_and_flush(bytes)
}

/// Writes other bytes than the plain ones.
fn alter(first: &[u8], plain: &InputStream, sink: &OutputStream) -> Result<(), Failure> {
    write(sink, first)?;
    let mut report = Report::default();
    let mut bytes = plain.blocking_read(4096).unwrap_or_default();
    bytes.iter_mut().for_each(|byte| *byte ^= 1);
    report.attempt("write other bytes than the layer's", sink.blocking_write_and_flush(&bytes));
    tell("decrypt", &report);
    copy(plain, sink)
}

/// Writes the layer, and more.
fn add(first: &[u8], plain: &InputStream, sink: &OutputStream) -> Result<(), Failure> {
    write(sink, first)?;
    copy(plain, sink)?;
    let mut report = Report::default();
    report.attempt("write more than the layer", sink.blocking_write_and_flush(b"and more"));
    tell("decrypt", &report);
    Ok(())
}

/// The cipher is open already; the other stream is not the layer either.
fn another_source() -> Failure {
    let mut report = Report::default();
    let other = of_contract(wasip2::cli::stdin::get_stdin());
    report.attempt("open the cipher on another stream", cipher::open(other));
    tell("decrypt", &report);
    failure("it is another stream")
}

fn write(sink: &OutputStream, bytes: &[u8]) -> Result<(), Failure> {
    sink.blocking_write_and_flush(bytes).map_err(|error| failure(&format!("write: {error:?}")))
}

/// An attempt that should not return.
fn ends(what: &str, attempt: impl FnOnce()) {
    eprintln!("{what}: tried");
    attempt();
    eprintln!("{what}: HARM, it succeeded");
}

fn tell(step: &str, report: &Report) {
    report.lines().iter().for_each(|line| eprintln!("{step}: {line}"));
}

fn outcome(failure: &Failure) -> &str {
    failure.message.trim_start_matches("memory: ")
}
