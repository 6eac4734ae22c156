//! The second step: it decrypts the encrypted layer.

use keycell_core::cipher::{Cipher, Loan, Own};
use keycell_core::contract::{DecoderPre, Output};
use keycell_core::guest_log::GuestLog;
use keycell_core::streams::{Input, Sink, Source};
use keycell_core::verdict::{self, NotDecrypted};
use keycell_core::{CipherSide, Instance, SharedAccounting};
use ocicrypt::layer::{LayerKey, Witness};
use wasmtime::Engine;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use crate::input::layer::EncryptedLayer;
use crate::report::failure::{Ending, Failure};
use crate::report::{explain, stderr};
use crate::sandbox::deadline;
use crate::sandbox::standard_streams::Stdout;

use super::shared::{Run, log_stderr, trap_when_stalled};
use super::trap::GuestFailure;

/// Runs the step in its own instance. It returns `Ok` only if the accounting agrees.
///
/// # Errors
/// Why the layer was not written completely, or is not genuine.
pub async fn run(
    run: &Run<'_>,
    (engine, guest): (&Engine, &DecoderPre<Instance>),
    key: LayerKey,
    layer: EncryptedLayer,
) -> Result<(), Ending> {
    let Run { settings, limits, log } = run;
    let side = match settings.cipher {
        keycell_settings::CipherSide::Host => CipherSide::Host,
        keycell_settings::CipherSide::Guest => CipherSide::Guest,
    };
    let guest_log = GuestLog::default();
    let accounting = SharedAccounting::new(Box::new(Stdout));
    accounting.lock().decompresses = settings.decompress;
    let output = if settings.decompress { Output::Decompressed } else { Output::Decrypted };
    let mut instance = Instance::for_decrypt(&guest_log);
    let (lent, granted): (Input, Input) = match side {
        CipherSide::Host => (Box::new(layer), Box::new(std::io::empty())),
        CipherSide::Guest => (Box::new(std::io::empty()), Box::new(layer)),
    };
    let source: DynInputStream = Box::new(Source::new(granted, accounting.clone()));
    let sink: DynOutputStream = Box::new(Sink::new(accounting.clone(), side));
    let source = instance.table.push(source).map_err(|error| GuestFailure::Host(error.into()))?;
    let sink = instance.table.push(sink).map_err(|error| GuestFailure::Host(error.into()))?;
    instance.cipher = match side {
        CipherSide::Host => {
            let (source, accounting) = (source.rep(), accounting.clone());
            Cipher::Lent(Loan { key, source, input: lent, accounting })
        }
        CipherSide::Guest => {
            let witness = if settings.decompress { Witness::of_input } else { Witness::new };
            accounting.lock().witness = Some(witness(&key));
            Cipher::Own(Own { key, source: source.rep() })
        }
    };
    if settings.report.explain {
        stderr::say(&explain::decrypt(side, settings.decompress));
    }
    let mut store = instance.into_store(engine);
    trap_when_stalled(&mut store, accounting.clone(), limits.stall_seconds);
    // The embedded guest cannot be trapped. Every byte of the layer that moves begins its time anew.
    deadline::arm(limits.stall_seconds);

    let answer = async {
        let decoder = guest.instantiate_async(&mut store).await?;
        let decrypting = decoder.keycell_decoder_decrypting();
        decrypting.call_decrypt(&mut store, source, sink, output).await
    };
    let answer = answer.await;
    deadline::disarm();
    let exhausted = store.data().is_exhausted();
    log_stderr(&guest_log, log);
    let answer: Result<(), Ending> = match answer {
        Ok(answer) => answer.map_err(|failure| Failure::from(failure).into()),
        Err(error) => Err(GuestFailure::new("decrypt", error, &guest_log, exhausted).into()),
    };
    let verdict = verdict::of_step(side, answer, &accounting);
    log.layer().wrote(accounting.lock().written);
    verdict.map_err(|error| match error {
        NotDecrypted::Stream(fault) => fault.into(),
        NotDecrypted::Guest(ending) => ending,
        NotDecrypted::FalseClaim(claim) => GuestFailure::broken("decrypt", claim).into(),
    })
}
