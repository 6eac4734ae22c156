//! What the kernel reports about a running decoder and the processes that it started.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use keycell_tests::elf::{Elf, Segment};
use keycell_tests::jwe::Recipient;
use keycell_tests::mapping::Mapping;
use keycell_tests::node::Node;
use keycell_tests::running::Running;
use keycell_tests::sealed::Sealed;
use keycell_tests::suite::Suite;
use keycell_tests::swaps::Swaps;
use keycell_tests::tools::Tool;

/// `CAP_DAC_READ_SEARCH`, `CAP_IPC_LOCK` and `CAP_KILL` (capabilities(7)).
const READ_SEARCH: u64 = 1 << 2;
const IPC_LOCK: u64 = 1 << 14;
const KILL: u64 = 1 << 5;

const NOBODY: &str = "65534";

pub(crate) fn cases(suite: &mut Suite) {
    steps(suite);
    users(suite);
    locked_pages(suite);
    broker_and_provider(suite);
}

fn steps(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[Tool::Root], run);
    case("status/while-keys-are-unwrapped", || {
        let running = start(&[])?;
        confined(running.pid(), READ_SEARCH | IPC_LOCK)?;
        ensure!(limit(running.pid(), "Max open files")? == "1088");
        ensure!(limit(running.pid(), "Max data size")? == (1u64 << 30).to_string());
        Ok(())
    });
    case("status/what-was-relocated-is-read-only", || {
        let running = start(&[])?;
        relocated_is_read_only(running.pid())
    });
    case("status/while-the-layer-flows", || {
        let mut running = start(&[])?;
        running.go_on()?;
        let pid = running.pid();
        let status = confined(pid, 0)?;
        ensure!(status == 0, "capabilities are left: {status:x}");
        ensure!(limit(pid, "Max open files")? == "3");
        ensure!(limit(pid, "Max file size")? == "0");
        ensure!(Running::child_of(pid, "keycell-broker").is_err(), "the broker is still there");
        let open = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
        for descriptor in open {
            let leads = fs::read_link(descriptor.path())?.display().to_string();
            let known = ["pipe:", "socket:", "/memfd:", "/dev/null"];
            ensure!(known.iter().any(|start| leads.starts_with(start)), "it has {leads} open");
        }
        running.finish()
    });
}

fn users(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[Tool::Root], run);
    case("status/another-user", || {
        let mut running = start(&["--user", NOBODY])?;
        let pid = running.pid();
        // To end the broker, which is root's, is a right that it needs in addition.
        confined(pid, READ_SEARCH | IPC_LOCK | KILL)?;
        is_nobody(pid)?;
        running.go_on()?;
        ensure!(confined(pid, 0)? == 0, "capabilities are left");
        is_nobody(pid)?;
        running.finish()
    });
    // Groups are dropped where the process is that user already.
    case("status/the-same-user-in-other-groups", || {
        let setpriv = Tool::Setpriv.find()?;
        // The provider writes to a directory of root.
        let inherited = "--inh-caps=+setgid,+dac_read_search,+dac_override,+kill";
        let ambient = "--ambient-caps=+setgid,+dac_read_search,+dac_override,+kill";
        let words = ["--reuid=65534", "--regid=65534", "--groups=6,65534", inherited, ambient];
        let inside: Vec<_> = [setpriv.as_path()].into_iter().chain(words.map(Path::new)).collect();
        let mut running = start_inside(&inside, &["--user", NOBODY])?;
        is_nobody(running.pid())?;
        running.go_on()?;
        is_nobody(running.pid())?;
        running.finish()
    });
    case("status/another-user-by-name", || {
        let running = start(&["--user", "nobody"])?;
        is_nobody(running.pid())
    });
}

fn locked_pages(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[Tool::Root], run);
    case("status/pages-are-locked-where-there-is-swap", || {
        let mut running = start_beside(&Swaps::new(true)?)?;
        let pid = running.pid();
        let all = writable(pid)?;
        ensure!(all.len() > 5, "only {all:?} can be written to");
        let swapped: Vec<_> = all.iter().filter(|(_, is_locked)| !is_locked).collect();
        ensure!(swapped.is_empty(), "keys in {swapped:?} can be swapped out");
        running.go_on()?;
        // Root's right to lock is gone: without a limit pages stay locked, with one none does,
        // or the stack could not grow.
        let stays = limit(pid, "Max locked memory")? == "unlimited";
        let others: Vec<_> = writable(pid)?;
        let others: Vec<_> = others.iter().filter(|(_, is_locked)| *is_locked != stays).collect();
        ensure!(others.is_empty(), "{others:?} should be locked: {stays}");
        running.finish()
    });
    case("status/nothing-is-locked-where-there-is-none", || {
        let mut running = start_beside(&Swaps::new(false)?)?;
        let all = writable(running.pid())?;
        ensure!(all.iter().all(|(_, is_locked)| !is_locked), "there is no need to lock {all:?}");
        confined(running.pid(), READ_SEARCH)?;
        running.go_on()?;
        running.finish()
    });
}

fn broker_and_provider(suite: &mut Suite) {
    let mut case = |name: &str, run: fn() -> Result<()>| suite.case(name, &[Tool::Root], run);
    case("status/broker-and-provider", || {
        let running = start(&[])?;
        let broker = Running::child_of(running.pid(), "keycell-broker")?;
        let broker_limit = limit(broker, "Max core file size")?;
        ensure!(broker_limit == "0", "the broker may dump core: {broker_limit}");
        let provider = running.provider()?;
        ensure!(limit(provider, "Max core file size")? == "0", "the provider may dump core");
        // It may need a program that gives it more rights.
        let status = Running::status(provider)?;
        ensure!(status.get("NoNewPrivs").is_some_and(|it| it == "0"), "{status:?}");
        Ok(())
    });
    case("user/keys-that-only-root-reads", || {
        let node = Node::new()?;
        let sealed = Sealed::of_length(100_000);
        let decoder = node.decoder(&sealed)?.arg("--user").arg(NOBODY);
        decoder.run()?.is_silent_success(&sealed.plain)
    });
}

/// As [`start`], where the kernel seems to have `swaps`.
fn start_beside(swaps: &Swaps) -> Result<Running> {
    let inside = swaps.inside();
    start_inside(&inside.iter().map(Path::new).collect::<Vec<_>>(), &[])
}

/// A decoder that waits for a provider, for a layer of a megabyte.
fn start(args: &[&str]) -> Result<Running> {
    start_inside(&[], args)
}

fn start_inside(inside: &[&Path], args: &[&str]) -> Result<Running> {
    let node = Node::new()?;
    let sealed = Sealed::of_length(1 << 20);
    let decoder = keycell_tests::dist("ctd-decoder")?;
    let keys = node.keys();
    let with_keys = [Path::new("--decryption-keys-path"), &keys];
    let program = [inside, &[decoder.as_path()], &with_keys[..]].concat();
    let payload = sealed.payload_for(&Recipient::generate());
    // The directory outlives the start alone: the guest has read it by then.
    Running::start(&program, args, &sealed, payload)
}

/// The program is one file that is loaded at any address, without a page that is both written to and code; and what
/// its start has relocated, tables of functions above all, cannot be written to any more.
fn relocated_is_read_only(pid: u32) -> Result<()> {
    let program = Elf::of(&keycell_tests::dist("ctd-decoder")?)?;
    ensure!(program.goes_anywhere, "its addresses are not random");
    ensure!(program.of_kind(Segment::INTERPRETER).next().is_none(), "it is linked dynamically");
    ensure!(program.of_kind(Segment::LOADED).all(|segment| segment.flags & 3 != 3), "its code");
    ensure!(program.of_kind(Segment::STACK).any(|segment| segment.flags & 1 == 0), "its stack");
    let relocated = program.of_kind(Segment::RELOCATED).next().context("nothing is relocated")?;
    ensure!(relocated.length > 50_000, "only {} bytes are relocated", relocated.length);

    let mappings = Mapping::all(pid)?;
    let program = mappings.iter().find(|mapping| mapping.line.ends_with("/ctd-decoder"));
    let base = program.context("the program is not in memory")?.range.start;
    let (start, end) = (base + relocated.start, base + relocated.start + relocated.length);
    for page in (start..end).step_by(4096).filter(|page| page / 4096 < end / 4096) {
        let mapping = mappings.iter().find(|mapping| mapping.range.contains(&page));
        let rights = &mapping.context("a page of it is not in memory")?.rights;
        ensure!(rights == "r--p", "{:x} of it is {rights}", page - base);
    }
    Ok(())
}

/// Checks what holds in both phases, and returns the capabilities, all of which are in `may`.
fn confined(pid: u32, may: u64) -> Result<u64> {
    let status = Running::status(pid)?;
    let field = |name: &str| status.get(name).with_context(|| format!("no {name}"));
    ensure!(field("NoNewPrivs")? == "1");
    ensure!(field("Seccomp")? == "2");
    ensure!(field("Threads")? == "1");
    let mut all = 0;
    for name in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        let set = u64::from_str_radix(field(name)?, 16)?;
        ensure!(set & !may == 0, "{name} is {set:x}");
        all |= set;
    }
    ensure!(limit(pid, "Max core file size")? == "0");
    // Of a process that is not dumpable, these belong to root, whoever it runs as.
    let owner = fs::metadata(format!("/proc/{pid}/environ"))?.uid();
    ensure!(owner == 0, "its memory belongs to {owner}");
    Ok(all)
}

fn is_nobody(pid: u32) -> Result<()> {
    let status = Running::status(pid)?;
    for name in ["Uid", "Gid"] {
        let ids = status.get(name).context("no ids")?;
        ensure!(ids.split_whitespace().all(|id| id == NOBODY), "{name} is {ids}");
    }
    let groups = status.get("Groups").context("no groups")?;
    ensure!(groups.is_empty(), "it is in {groups}");
    Ok(())
}

/// The private mappings that can be written to, and whether each is locked (proc(5), `smaps`).
fn writable(pid: u32) -> Result<Vec<(String, bool)>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in fs::read_to_string(format!("/proc/{pid}/smaps"))?.lines() {
        match line.strip_prefix("VmFlags: ") {
            Some(flags) => {
                let is_locked = flags.split_whitespace().any(|flag| flag == "lo");
                found.extend(mapping.take().map(|mapping| (mapping, is_locked)));
            }
            None if line.contains(" rw-p ") => mapping = Some(line.to_owned()),
            None => {}
        }
    }
    Ok(found)
}

/// The hard limit.
fn limit(pid: u32, name: &str) -> Result<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).context("no limit")?;
    Ok(line.split_whitespace().nth(1).context("no hard limit")?.to_owned())
}
