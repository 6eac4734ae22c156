//! The causes of failures, and for each the line that mends it.

use std::fmt;

mod credential;
mod decoder;
mod guest_store;
mod image;
mod keyprovider;
mod provider;
mod recipient;
mod registry;
mod tool;
mod tpm;
mod unwrap;
mod usage;

pub use credential::CredentialHint;
pub use decoder::DecoderHint;
pub use guest_store::GuestStoreHint;
pub use image::{ImageHint, LayerFlag, TransportHint};
pub use keyprovider::KeyproviderHint;
pub use provider::ProviderHint;
pub use recipient::RecipientHint;
pub use registry::RegistryHint;
pub use tool::ToolHint;
pub use tpm::TpmHint;
pub use unwrap::UnwrapHint;
pub use usage::UsageHint;

/// A cause that a person can mend. Its text, a line in lower case without a full stop, is made by
/// `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The image or the keys: what the guest finds.
    Unwrap(UnwrapHint),
    /// The node, its configuration and the caller's limits: what the host finds.
    Decoder(DecoderHint),
    /// The installed guests.
    GuestStore(GuestStoreHint),
    /// Requests to `keycell keyprovider`, and its socket.
    Keyprovider(KeyproviderHint),
    /// Images, wherever they are.
    Image(ImageHint),
    /// `keycell` as a key provider.
    Provider(ProviderHint),
    /// New keys, and recipients.
    Recipient(RecipientHint),
    /// What the operator asked `keycell` for.
    Tool(ToolHint),
    /// A command line that cannot be used.
    Usage(UsageHint),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwrap(hint) => hint.fmt(f),
            Self::Decoder(hint) => hint.fmt(f),
            Self::GuestStore(hint) => hint.fmt(f),
            Self::Keyprovider(hint) => hint.fmt(f),
            Self::Image(hint) => hint.fmt(f),
            Self::Provider(hint) => hint.fmt(f),
            Self::Recipient(hint) => hint.fmt(f),
            Self::Tool(hint) => hint.fmt(f),
            Self::Usage(hint) => hint.fmt(f),
        }
    }
}

impl From<UnwrapHint> for Hint {
    fn from(hint: UnwrapHint) -> Self {
        Self::Unwrap(hint)
    }
}

impl From<DecoderHint> for Hint {
    fn from(hint: DecoderHint) -> Self {
        Self::Decoder(hint)
    }
}

impl From<GuestStoreHint> for Hint {
    fn from(hint: GuestStoreHint) -> Self {
        Self::GuestStore(hint)
    }
}

impl From<KeyproviderHint> for Hint {
    fn from(hint: KeyproviderHint) -> Self {
        Self::Keyprovider(hint)
    }
}

impl From<ImageHint> for Hint {
    fn from(hint: ImageHint) -> Self {
        Self::Image(hint)
    }
}

impl From<ProviderHint> for Hint {
    fn from(hint: ProviderHint) -> Self {
        Self::Provider(hint)
    }
}

impl From<RecipientHint> for Hint {
    fn from(hint: RecipientHint) -> Self {
        Self::Recipient(hint)
    }
}

impl From<ToolHint> for Hint {
    fn from(hint: ToolHint) -> Self {
        Self::Tool(hint)
    }
}

impl From<UsageHint> for Hint {
    fn from(hint: UsageHint) -> Self {
        Self::Usage(hint)
    }
}
