//! Rewrites images: what is to be done with which layer, and the documents that name the result.

mod changes;
mod copying;
mod digest_file;
mod error;
mod flags;
mod plan;
mod progress;
mod report;
mod rewrite;
mod selection;

pub use copying::Copying;
pub use error::{Few, ImageError, Named};
pub use flags::{Destination, Registries};
pub use plan::{Decision, Exchange, Plan, Wishes};
pub use progress::Progress;
pub use report::{Action, Layers, Listed, Note, Report};
pub use rewrite::{CHUNK, Work, of_layer, rewrite, unpacked};
pub use selection::{Selection, platform};
