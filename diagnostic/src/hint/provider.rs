//! Hints of `keycell` as a key provider.

use std::fmt;

/// What mends a failure of a key provider of `keycell`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderHint {
    /// Standard input is not a request.
    NotByHand,
    /// The recipient says nothing that Clevis understands.
    ClevisRecipient,
    /// The recipient does not say which keys of a Tang server to trust.
    TangThumbprint,
    /// The image asks for a Tang server that the operator has not allowed.
    AllowTang {
        /// Its URL.
        url: String,
    },
    /// The image asks for the TPM, which the operator has not allowed.
    AllowTpm,
    /// The image asks for a pin that this provider never calls.
    OtherPins,
    /// The annotation is not what Clevis writes.
    EncryptAgain,
    /// `clevis` is not there.
    InstallClevis,
    /// `clevis` is there, and others can change it.
    ProtectClevis {
        /// The command that mends it.
        fix: String,
    },
    /// `clevis encrypt` has failed.
    ClevisEncrypt,
    /// `clevis decrypt` has failed.
    ClevisDecrypt,
}

impl fmt::Display for ProviderHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotByHand => f.write_str(NOT_BY_HAND),
            Self::ClevisRecipient => f.write_str(CLEVIS_RECIPIENT),
            Self::TangThumbprint => f.write_str(TANG_THUMBPRINT),
            Self::AllowTang { url } => write!(
                f,
                "if the node may ask this server, add `\"--tang\", \"{url}\"` to `args` of this \
                 provider's `cmd`"
            ),
            Self::AllowTpm => f.write_str(ALLOW_TPM),
            Self::OtherPins => f.write_str(OTHER_PINS),
            Self::EncryptAgain => f.write_str(ENCRYPT_AGAIN),
            Self::InstallClevis => f.write_str(INSTALL_CLEVIS),
            Self::ProtectClevis { fix } => f.write_str(fix),
            Self::ClevisEncrypt => f.write_str(CLEVIS_ENCRYPT),
            Self::ClevisDecrypt => f.write_str(CLEVIS_DECRYPT),
        }
    }
}

const NOT_BY_HAND: &str = "`ctd-decoder`, `keycell encrypt` and skopeo call this command where \
    `OCICRYPT_KEYPROVIDER_CONFIG` names it: `{\"key-providers\":{\"clevis\":{\"cmd\":{\"path\":\
    \"/usr/bin/keycell\",\"args\":[\"clevis\",\"--tang\",\"http://tang.example\"],\"files\":[]}}}}`";

const CLEVIS_RECIPIENT: &str = "write `provider:clevis:PIN:CONFIG` with `tang`, `tpm2` or `sss` as the \
    pin, and as CONFIG what `clevis encrypt PIN` takes, in JSON or as base64 of it, for instance \
    `provider:clevis:tang:{\"url\":\"http://tang.example\",\"thp\":\"THUMBPRINT\"}`";

const TANG_THUMBPRINT: &str = "`tang-show-keys` on the server prints the thumbprint of its signing key: put \
    it into `thp`, or a trusted advertisement into `adv`";

const ALLOW_TPM: &str = "if images may use the TPM of this node, add `\"--tpm2\"` to `args` of this provider's \
    `cmd`";

const OTHER_PINS: &str = "have the image encrypted with one of the pins `tang`, `tpm2` and `sss`";

const ENCRYPT_AGAIN: &str = "have the image encrypted again with `provider:clevis:…`";

const INSTALL_CLEVIS: &str =
    "install it with `apt-get install clevis`, and `clevis-tpm2` for a TPM";

const CLEVIS_ENCRYPT: &str = "`clevis encrypt PIN CONFIG <FILE` on this machine has to work first: does the \
    Tang server answer, is the thumbprint that of its signing key, is there a TPM?";

const CLEVIS_DECRYPT: &str = "is the Tang server reachable, and are the keys that it had when the image was \
    encrypted still there? is the TPM the same, with the same PCR values?";
