//! Hints for failures of `unwrap` and `decrypt`: what the guest finds about an image and its keys.

use std::fmt;

/// The cause of a failure, whose text says how to solve it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnwrapHint {
    /// The media type of the layer is not one of an encrypted layer.
    OtherMediaType,
    /// The layer is encrypted, and of a media type that nothing unpacks.
    NotUnpacked,
    /// The descriptor has no wrapped keys.
    AnnotationsDropped,
    /// There is no private key.
    NoKeyConfigured,
    /// The image is encrypted for other keys.
    KeyOfAnother,
    /// The image is encrypted for other OpenPGP keys.
    OpenPgpKeyOfAnother,
    /// If the key is the right one, then the image is damaged.
    PerhapsDamaged,
    /// A private key is encrypted, and its password is missing or wrong.
    KeyLocked,
    /// The image is damaged: no key helps.
    Damaged,
    /// The wrapped key has a form that no key can open here.
    UnsupportedEncryption,
    /// The image uses algorithms that the decoder refuses.
    LegacyAlgorithms,
    /// The configuration refuses legacy algorithms.
    LegacyRefused,
    /// There are more combinations than the budget allows: too many keys.
    TooManyKeys,
    /// There are more combinations than the budget allows: too many recipients.
    TooManyRecipients,
    /// The key provider that wrapped the key is not configured.
    NoProviderConfigured,
    /// There is no key file of a PKCS#11 token, or its module is not allowed.
    NoTokenConfigured,
    /// The key provider or the token failed.
    ProviderOrTokenFailed,
    /// The payload is empty.
    PayloadEmpty,
    /// The payload is not one of the ocicrypt format.
    PayloadForeign,
    /// The digest that is sealed with the key is not that of the layer.
    SealedDigestOfAnother,
    /// The layer ends too early.
    LayerCutOff,
    /// The layer does not verify.
    LayerAltered,
    /// The layer is not valid gzip.
    DamagedGzip,
    /// The plain layer cannot be written.
    SinkFailed,
    /// The host does not keep the contract.
    ContractBroken,
    /// The content store has no manifest for the layer, or not the layer.
    LayerNotStored,
    /// The content store has more manifests for the layer than are tried.
    TooManyImages,
    /// The portable guest got arguments that it does not know.
    PortableUsage,
    /// The portable guest cannot read its payload.
    PortablePayloadUnreadable,
}

impl fmt::Display for UnwrapHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl UnwrapHint {
    fn text(&self) -> &'static str {
        match self {
            Self::OtherMediaType => OTHER_MEDIA_TYPE,
            Self::NotUnpacked => NOT_UNPACKED,
            Self::AnnotationsDropped => ANNOTATIONS_DROPPED,
            Self::NoKeyConfigured => NO_KEY_CONFIGURED,
            Self::KeyOfAnother => KEY_OF_ANOTHER,
            Self::OpenPgpKeyOfAnother => OPENPGP_KEY_OF_ANOTHER,
            Self::PerhapsDamaged => PERHAPS_DAMAGED,
            Self::KeyLocked => KEY_LOCKED,
            Self::Damaged => DAMAGED,
            Self::UnsupportedEncryption => UNSUPPORTED_ENCRYPTION,
            Self::LegacyAlgorithms => LEGACY_ALGORITHMS,
            Self::LegacyRefused => LEGACY_REFUSED,
            Self::TooManyKeys => TOO_MANY_KEYS,
            Self::TooManyRecipients => TOO_MANY_RECIPIENTS,
            Self::NoProviderConfigured => NO_PROVIDER_CONFIGURED,
            Self::NoTokenConfigured => NO_TOKEN_CONFIGURED,
            Self::ProviderOrTokenFailed => PROVIDER_OR_TOKEN_FAILED,
            Self::PayloadEmpty => PAYLOAD_EMPTY,
            Self::PayloadForeign => PAYLOAD_FOREIGN,
            Self::SealedDigestOfAnother => SEALED_DIGEST_OF_ANOTHER,
            Self::LayerCutOff => LAYER_CUT_OFF,
            Self::LayerAltered => LAYER_ALTERED,
            Self::DamagedGzip => DAMAGED_GZIP,
            Self::SinkFailed => SINK_FAILED,
            Self::ContractBroken => CONTRACT_BROKEN,
            Self::LayerNotStored => LAYER_NOT_STORED,
            Self::TooManyImages => TOO_MANY_IMAGES,
            Self::PortableUsage => PORTABLE_USAGE,
            Self::PortablePayloadUnreadable => PORTABLE_PAYLOAD_UNREADABLE,
        }
    }
}

const OTHER_MEDIA_TYPE: &str = "the media type of an encrypted layer ends in `+encrypted`, such as \
    `application/vnd.oci.image.layer.v1.tar+gzip+encrypted`: does the `accepts` of containerd's \
    stream processor list another one?";

const NOT_UNPACKED: &str = "containerd has nothing that unpacks such a layer: `keycell decrypt` decrypts the \
    image, where its key is";

const ANNOTATIONS_DROPPED: &str = "whoever copied this image dropped the annotations of its manifest, \
    and with them the wrapped keys: pull it from where it was encrypted";

const NO_KEY_CONFIGURED: &str = "put the private key of one of the image's recipients into the directory \
    that `--decryption-keys-path` names (PEM, DER, JWK or OpenPGP), readable for the user that containerd \
    runs as";

const KEY_OF_ANOTHER: &str = "the image was encrypted for other keys: put the private key of one of \
    its recipients into the keys directory; `openssl pkey -in KEY -pubout -outform DER | openssl \
    dgst -sha256 -binary | base64` shows a key's fingerprint";

const OPENPGP_KEY_OF_ANOTHER: &str = "the image was encrypted for other OpenPGP keys: export the secret key \
    of one of its recipients into the keys directory, `gpg --export-secret-keys ID >NAME.gpg`";

const PERHAPS_DAMAGED: &str = "if that is the right key, the manifest was altered, or a broken tool \
    encrypted the image: pull it again, and if that fails too have it encrypted again";

const KEY_LOCKED: &str = "put the password of the key `NAME` into `NAME.pass` beside it";

const DAMAGED: &str = "the keys are not the cause: the manifest was altered, or a broken tool \
    encrypted the image; pull it again, and if that fails too have it encrypted again";

const UNSUPPORTED_ENCRYPTION: &str = "the keys are not the cause: have the image encrypted again in a way that \
    every decoder reads, for example with `keycell encrypt` or `skopeo copy --encryption-key`";

const LEGACY_ALGORITHMS: &str = "have the image encrypted with modern algorithms, for instance for \
    a key on an elliptic curve, `keycell encrypt -r jwe:EC.pem`; other programs write RSA with SHA-1";

const LEGACY_REFUSED: &str = "or accept legacy algorithms: take `min-algorithms = \"modern\"` out of \
    `/etc/keycell/config.toml`, or `--min-algorithms modern` out of the decoder's flags";

const TOO_MANY_KEYS: &str = "there are more combinations of keys and recipients than are tried: take \
    keys that open nothing out of the keys directory, `keycell doctor` names them";

const TOO_MANY_RECIPIENTS: &str = "or have the image encrypted for fewer recipients, or again by \
    `keycell encrypt`, which names the key of each recipient so that it is tried first";

const NO_PROVIDER_CONFIGURED: &str = "name the key provider in a file, for instance \
    `{\"key-providers\":{\"NAME\":{\"cmd\":{\"path\":\"/usr/bin/PROGRAM\"}}}}`, and this file in \
    `OCICRYPT_KEYPROVIDER_CONFIG` in the environment of containerd, or in the `env` of its stream \
    processor";

const NO_TOKEN_CONFIGURED: &str = "put a PKCS#11 key file into the keys directory, and allow its module in \
    the file that `OCICRYPT_CONFIG` names (or `/etc/ocicrypt.conf`): `pkcs11: \
    {module-directories: [/usr/lib/softhsm/], allowed-module-paths: [/usr/lib/softhsm/]}`";

const PROVIDER_OR_TOKEN_FAILED: &str = "it is the key provider or the token that failed: try it by hand, as \
    the user that containerd runs as";

const PAYLOAD_EMPTY: &str = "`ctd-decoder` looks the layer up in containerd's content store where there is \
    no payload; other callers of this guest need one: `keycell payload IMAGE --output FILE` makes it";

const PAYLOAD_FOREIGN: &str = "containerd passes the payload of a stream processor whose id begins with \
    `io.containerd.ocicrypt.decoder.v1`; is `ctd-decoder` the `path` of another one?";

const SEALED_DIGEST_OF_ANOTHER: &str =
    "whoever encrypted this image sealed another layer's digest: have it encrypted again";

const LAYER_CUT_OFF: &str =
    "whoever sends the layer stopped: look why, and send it again from the beginning";

const LAYER_ALTERED: &str = "remove the image and pull it again";

const DAMAGED_GZIP: &str = "the layer was damaged before it was encrypted: build the image again";

const SINK_FAILED: &str = "does whatever reads it still run, and is there space left?";

const CONTRACT_BROKEN: &str =
    "this is a bug of the host or of a guest made for another one, please report it";

const LAYER_NOT_STORED: &str = "pull the image again: its manifest or its layer has been removed \
    meanwhile; unless it is in the store of another containerd, whose root directory `--content-store` \
    names";

const TOO_MANY_IMAGES: &str =
    "remove images that are not needed or not trusted: `crictl rmi --prune`";

const PORTABLE_USAGE: &str = "`--help` lists the flags";

const PORTABLE_PAYLOAD_UNREADABLE: &str =
    "grant its directory to the guest, for example `--dir .::/here`";
