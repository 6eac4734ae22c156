//! The containerd that runs: whether it is the one whose configuration is examined, and whether it has
//! read what is examined.

use keycell_diagnostic::hint::ToolHint;

use crate::containerd::{Config, Found, Running, Version};

use super::report::Report;

/// Reports which process is examined, before its configuration is read.
pub fn examine(found: &Found, report: &mut Report) {
    match &found.running {
        Some(running) => {
            let Running { pid, config, .. } = running;
            report.fine(format!("process {pid} reads `{}`", config.display()));
        }
        None if !found.others.is_empty() => report.note(format!(
            "no containerd runs with `{}`; what is examined holds for one that is started with it",
            found.config.display()
        )),
        None => {
            report.note("no containerd runs here; what is examined holds as soon as it is started")
        }
    }
    for other in &found.others {
        report.note(format!(
            "another containerd runs, process {}: `--config {}` examines it",
            other.pid,
            other.config.display()
        ));
    }
    if !found.elsewhere.is_empty() {
        let pids: Vec<_> = found.elsewhere.iter().map(u32::to_string).collect();
        report.note(format!(
            "containerd also runs in other mount namespaces, with files of their own: process {}; \
             `nsenter --target PID --mount keycell doctor` examines one of these",
            pids.join(", ")
        ));
    }
}

/// Reports what the process has not read yet.
pub fn examine_age(found: &Found, config: &Config, version: Option<Version>, report: &mut Report) {
    let Some(running) = &found.running else { return };
    let restart = || ToolHint::RestartContainerd { unit: running.unit.clone() };
    let newer: Vec<_> =
        found.newer_files(config).iter().map(|file| format!("`{}`", file.display())).collect();
    if !newer.is_empty() {
        report.unknown(
            format!(
                "containerd was started before its configuration changed, and runs with the former \
                 one: {}",
                newer.join(", ")
            ),
            restart(),
        );
    }
    if running.is_replaced {
        let version = version.map(|version| format!(", now {version}")).unwrap_or_default();
        report.unknown(
            format!("containerd's program was replaced after it was started{version}"),
            restart(),
        );
    }
}
