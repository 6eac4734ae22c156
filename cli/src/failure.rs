//! The hints of an error.

use anyhow::Error;
use keycell_diagnostic::{Diagnostic, Hint};
use keycell_guest_store::store::Refusal;

use crate::image::ImageError;

/// The hints of a diagnostic or of a refusal of the guest store; none for other errors.
pub fn hints_of(error: &Error) -> Vec<Hint> {
    if let Some(diagnostic) = error.downcast_ref::<Diagnostic>() {
        return diagnostic.hints.clone();
    }
    if let Some(error) = error.downcast_ref::<ImageError>() {
        return error.hint().into_iter().map(Hint::from).collect();
    }
    if let Some(error) = error.downcast_ref::<keycell_images::Error>() {
        return error.hint().into_iter().map(Hint::from).collect();
    }
    match error.downcast_ref::<Refusal>() {
        Some(refusal) => vec![refusal.hint().into()],
        None => Vec::new(),
    }
}
