//! The recipients of an existing wrapped key, and how some are cut out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{blob, parse};
use crate::encoding::json::{Json, equal_folded};

/// The recipients, each with its text. Nothing names their keys.
pub(crate) fn existing(bytes: &[u8]) -> Vec<String> {
    if parse(bytes).is_err() {
        return Vec::new();
    }
    let Ok(json) = Json::parse(bytes) else { return Vec::new() };
    let recipients = json.field("recipients").and_then(Json::as_array).unwrap_or_default();
    let text = |recipient| match blob(recipient) {
        Ok(blob) => format!("RSA-{}", blob.bytes.len() * 8),
        Err(error) => error.to_string(),
    };
    recipients.iter().map(text).collect()
}

/// Cuts entries out of the list of recipients.
pub(crate) fn without(bytes: &[u8], positions: &BTreeSet<usize>) -> Option<Vec<u8>> {
    let mut json: Value = serde_json::from_slice(bytes).ok()?;
    let lists = json.as_object_mut()?.iter_mut();
    let mut lists =
        lists.filter(|(name, value)| equal_folded(name, "recipients") && value.is_array());
    let (Some((_, list)), None) = (lists.next(), lists.next()) else { return None };
    let list = list.as_array_mut()?;
    let mut position = 0..;
    list.retain(|_| position.next().is_none_or(|position| !positions.contains(&position)));
    if list.is_empty() { None } else { serde_json::to_vec(&json).ok() }
}
