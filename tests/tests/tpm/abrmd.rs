//! tpm2-abrmd, the resource manager that programs reach over D-Bus, on a bus of its own.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use keycell_tests::tools::{Service, Tool, output};

use crate::setup::{STARTS_WITHIN, SoftTpm, UNTIL_STDIN_ENDS};

/// The resource manager of a TPM.
pub(crate) struct Abrmd {
    address: String,
    // It ends before its bus does.
    _manager: Service,
    _bus: Service,
}

impl Abrmd {
    /// How programs reach it.
    pub(crate) const TCTI: &str = "tabrmd:bus_type=session";

    /// Starts it. Its bus is the socket `bus` in the directory of the TPM.
    pub(crate) fn start(tpm: &SoftTpm) -> Result<Self> {
        let address = format!("unix:path={}", tpm.path("bus").display());
        let mut bus = Command::new("sh");
        bus.args(["-c", UNTIL_STDIN_ENDS, "sh"]).arg(Tool::DbusDaemon.find()?);
        bus.args(["--session", "--nofork", &format!("--address={address}")]);
        let bus = Service::start(&mut bus, &tpm.path("bus.log"))?;
        within(|| tpm.path("bus").exists().then_some(()).context("no bus"))?;
        let mut manager = Command::new("sh");
        manager.args(["-c", UNTIL_STDIN_ENDS, "sh"]).arg(Tool::Tpm2Abrmd.find()?);
        manager.env("DBUS_SESSION_BUS_ADDRESS", &address).args(["--session", "--allow-root"]);
        manager.arg(format!("--tcti=swtpm:path={}", tpm.path("swtpm.sock").display()));
        let manager = Service::start(&mut manager, &tpm.path("abrmd.log"))?;
        within(|| {
            let mut ask = Command::new(Tool::Tpm2Tools.find()?);
            ask.env("DBUS_SESSION_BUS_ADDRESS", &address).env("TPM2TOOLS_TCTI", Self::TCTI);
            output(ask.arg("properties-fixed"))
        })?;
        Ok(Self { address, _manager: manager, _bus: bus })
    }

    /// Tells a module where the bus is.
    pub(crate) fn variable(&self) -> (&'static str, &str) {
        ("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }
}

/// Tries until it works.
fn within<T>(mut works: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match works() {
            Err(_) if started.elapsed() < STARTS_WITHIN => thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}
