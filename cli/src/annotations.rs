//! The annotations of a descriptor.

use std::collections::BTreeMap;

use ocicrypt::annotation::{PUBLIC_OPTIONS, Scheme};
use serde_json::{Map, Value};

/// Those that are strings, as the specification has them.
pub fn of(descriptor: &Value) -> BTreeMap<String, String> {
    let annotations = descriptor["annotations"].as_object().into_iter().flatten();
    annotations
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The descriptor with these in the place of its own.
pub fn with(descriptor: &Value, annotations: BTreeMap<String, String>) -> Value {
    let mut descriptor = descriptor.clone();
    let map: Map<_, _> =
        annotations.into_iter().map(|(name, value)| (name, value.into())).collect();
    if let Some(object) = descriptor.as_object_mut() {
        if map.is_empty() {
            object.remove("annotations");
        } else {
            object.insert("annotations".to_owned(), map.into());
        }
    }
    descriptor
}

/// The descriptor without those of encryption.
pub fn without_encryption(descriptor: &Value) -> Value {
    let mut rest = of(descriptor);
    rest.retain(|name, _| name != PUBLIC_OPTIONS && Scheme::of_annotation(name).is_none());
    with(descriptor, rest)
}
