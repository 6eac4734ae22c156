//! The members of payloads, manifests and annotations that the format defines.

pub mod annotation;
pub mod manifest;
pub mod media_type;
pub mod options;
pub mod payload;
