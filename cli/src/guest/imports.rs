//! What guests may import, and what that means in words.

use anyhow::{Result, bail};
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use keycell_guest_store::record::Kind;

/// The version of `keycell:decoder` that this host has. Before 1.0 the second number counts.
pub const CONTRACT: &str = "0.4";

/// A group of interfaces of a package, and what each kind of guest gets of them.
struct Grant {
    package: &'static str,
    interfaces: &'static [&'static str],
    decoder: &'static str,
    command: &'static str,
}

/// The module of WASI 0.1's functions. In lists of imports they are `wasi_snapshot_preview1.NAME`.
pub const WASIP1: &str = "wasi_snapshot_preview1";

/// Everything that the host links: `core/src/linker.rs`, and `wasip1.rs` and `sockets.rs` in `host/src/guests`. Words that are empty go without saying.
const GRANTS: &[Grant] = &[
    Grant {
        package: "wasi:filesystem",
        interfaces: &["types", "preopens"],
        decoder: "reads the keys directory, in `unwrap`",
        command: "reads the keys directory",
    },
    Grant {
        package: "wasi:cli",
        interfaces: &["stdin"],
        decoder: "standard input is closed to it",
        command: "reads the payload and the encrypted layer",
    },
    Grant {
        package: "wasi:cli",
        interfaces: &["stdout"],
        decoder: "standard output is closed to it",
        command: "writes the plain layer",
    },
    Grant {
        package: "wasi:cli",
        interfaces: &["stderr"],
        decoder: "writes to the log",
        command: "writes to the log",
    },
    Grant {
        package: "wasi:cli",
        interfaces: &["environment"],
        decoder: "sees no argument and an empty environment",
        command: "sees its arguments and an empty environment",
    },
    Grant {
        package: "wasi:cli",
        interfaces: &[
            "exit",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
        decoder: "",
        command: "",
    },
    Grant {
        package: "wasi:random",
        interfaces: &["random", "insecure", "insecure-seed"],
        decoder: "gets random numbers, in `unwrap`",
        command: "gets random numbers",
    },
    Grant {
        package: "wasi:clocks",
        interfaces: &["monotonic-clock", "wall-clock"],
        decoder: "may not look at a clock: it traps",
        command: "has a clock of its own, which tells nothing",
    },
    Grant {
        package: "wasi:sockets",
        interfaces: &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
        decoder: "has no sockets: their functions fail",
        command: "has no sockets: their functions fail",
    },
    Grant {
        package: "wasi:io",
        interfaces: &["error", "poll", "streams"],
        decoder: "",
        command: "",
    },
    Grant {
        package: "keycell:decoder",
        interfaces: &["types", "broker"],
        decoder: "",
        command: "",
    },
    Grant {
        package: "keycell:decoder",
        interfaces: &["cipher"],
        decoder: "may use the host's cipher, in `decrypt`",
        command: "may not use the host's cipher: it is a command",
    },
    Grant {
        package: "keycell:decoder",
        interfaces: &["providers"],
        decoder: "may ask key providers that the operator configured, in `unwrap`",
        command: "may not ask key providers: it is a command",
    },
    Grant {
        package: "keycell:decoder",
        interfaces: &["tokens"],
        decoder: "may ask for keys in PKCS#11 tokens that the operator allows, in `unwrap`",
        command: "may not ask for keys in PKCS#11 tokens: it is a command",
    },
    of_wasip1(
        "reads the keys directory",
        &[
            "fd_prestat_get",
            "fd_prestat_dir_name",
            "fd_readdir",
            "fd_pread",
            "fd_seek",
            "fd_tell",
            "path_open",
            "path_readlink",
            "path_filestat_get",
        ],
    ),
    of_wasip1("reads the payload and the encrypted layer", &["fd_read"]),
    of_wasip1("writes the plain layer, and to the log", &["fd_write"]),
    of_wasip1(
        "sees its arguments and an empty environment",
        &["args_get", "args_sizes_get", "environ_get", "environ_sizes_get"],
    ),
    of_wasip1("gets random numbers", &["random_get"]),
    of_wasip1(
        "has a clock of its own, which tells nothing",
        &["clock_res_get", "clock_time_get", "poll_oneoff"],
    ),
    of_wasip1(
        "may not write to the keys directory: what would fails",
        &[
            "fd_allocate",
            "fd_filestat_set_size",
            "fd_filestat_set_times",
            "fd_pwrite",
            "path_create_directory",
            "path_filestat_set_times",
            "path_link",
            "path_remove_directory",
            "path_rename",
            "path_symlink",
            "path_unlink_file",
        ],
    ),
    of_wasip1(
        "has no sockets: their functions fail",
        &["sock_accept", "sock_recv", "sock_send", "sock_shutdown"],
    ),
    of_wasip1(
        "",
        &[
            "fd_advise",
            "fd_close",
            "fd_datasync",
            "fd_fdstat_get",
            "fd_fdstat_set_flags",
            "fd_fdstat_set_rights",
            "fd_filestat_get",
            "fd_renumber",
            "fd_sync",
            "proc_exit",
            "proc_raise",
            "sched_yield",
        ],
    ),
];

/// Functions of WASI 0.1, which only commands have.
const fn of_wasip1(command: &'static str, interfaces: &'static [&'static str]) -> Grant {
    Grant { package: WASIP1, interfaces, decoder: "", command }
}

/// Whether every import is one that the host has.
///
/// # Errors
/// All that are none, by name.
pub fn all_granted(imports: &[String], shown: &str) -> Result<()> {
    let foreign = imports.iter().filter(|import| grant(import).is_none());
    let foreign = foreign.cloned().collect::<Vec<_>>();
    if !foreign.is_empty() {
        bail!(refused(&foreign, shown));
    }
    Ok(())
}

/// What they let a guest of this kind do, a line each.
pub fn in_words(imports: &[String], kind: Kind) -> Vec<String> {
    let has = |grant: &&Grant| imports.iter().any(|import| grant.has(import));
    let words = GRANTS.iter().filter(has).map(|grant| match kind {
        Kind::Decoder => grant.decoder,
        Kind::Command => grant.command,
    });
    words.filter(|words| !words.is_empty()).map(str::to_owned).collect()
}

/// Whether a name of the contract has a version that this host has.
pub fn is_ours(name: &str) -> bool {
    parts(name).is_some_and(|(package, _, version)| is_version(package, version))
}

/// Imports that no guest is granted.
pub fn refused(foreign: &[String], shown: &str) -> anyhow::Error {
    let named = foreign.iter().take(8).map(|import| format!("`{import}`{}", reason(import)));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = foreign.len().saturating_sub(8);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("`{shown}` imports what no guest is granted: {named}{more}");
    let is_http = |import: &String| import.starts_with("wasi:http/");
    let hint = match foreign.iter().all(is_http) {
        true => ToolHint::HttpImports,
        false => ToolHint::ForeignImports,
    };
    Diagnostic::new(message, hint).into()
}

fn reason(import: &str) -> &'static str {
    let Some((package, interface, version)) = parts(import) else { return " (unknown)" };
    let has_package = GRANTS.iter().any(|grant| grant.package == package);
    let has_interface = GRANTS
        .iter()
        .any(|grant| grant.package == package && grant.interfaces.contains(&interface));
    match package {
        "wasi:http" | "wasi:tls" => " (the network)",
        _ if has_interface && !is_version(package, version) => " (another version)",
        _ if has_package => " (not a part of the contract)",
        _ => " (an unknown package)",
    }
}

fn grant(import: &str) -> Option<&'static Grant> {
    GRANTS.iter().find(|grant| grant.has(import))
}

impl Grant {
    fn has(&self, import: &str) -> bool {
        parts(import).is_some_and(|(package, interface, version)| {
            self.package == package
                && self.interfaces.contains(&interface)
                && is_version(package, version)
        })
    }
}

/// `0.2` of WASI, or the contract's, and any patch of it. WASI 0.1 has its version in its name.
fn is_version(package: &str, version: &str) -> bool {
    if package == WASIP1 {
        return version.is_empty();
    }
    let wanted = if package.starts_with("wasi:") { "0.2" } else { CONTRACT };
    let patch = version.strip_prefix(wanted).and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `PACKAGE/INTERFACE@VERSION`, or a function of WASI 0.1.
fn parts(name: &str) -> Option<(&str, &str, &str)> {
    if let Some(function) = name.strip_prefix(WASIP1).and_then(|rest| rest.strip_prefix('.')) {
        return Some((WASIP1, function, ""));
    }
    let (path, version) = name.split_once('@')?;
    let (package, interface) = path.split_once('/')?;
    Some((package, interface, version))
}
