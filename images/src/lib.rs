//! Images where they are: in layouts on disk (OCI image specification, section "Image Layout"), in
//! archives, and in registries (OCI distribution specification). An image is read through [`Source`] and
//! written through [`Target`], so that what is done to it does not depend on where it is.

#![forbid(unsafe_code)]

pub mod archive;
pub mod choice;
pub mod digest;
pub mod documents;
mod error;
pub mod interrupt;
pub mod layout;
pub mod name;
pub mod place;
pub mod registry;

pub use choice::{ArchiveFile, Choice};
pub use error::{ArchiveError, Error, NameError, Result};
pub use place::{Kept, NewBlob, Source, Target, Verified};

/// Sanitizes text of an image, such as a media type, for a message.
#[must_use]
pub fn shown(text: &str) -> String {
    const LENGTH: usize = 160;
    ocicrypt::text::printable_to(text, LENGTH)
}
