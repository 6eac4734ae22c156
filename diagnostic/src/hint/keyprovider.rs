//! Hints about requests to `keycell keyprovider`, and about its socket.

use std::fmt;

/// What mends a request or a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyproviderHint {
    /// `--unwrap` is in containerd's configuration.
    RemoveUnwrap,
    /// `--unwrap` is given by hand.
    UnwrapByKeyprovider,
    /// `--unwrap` needs a guest with two steps.
    UnwrapWithComponent,
    /// The request is not of the protocol.
    Protocol,
    /// The request is too long.
    RequestTooLong,
    /// The recipient has no public key.
    NamePublicKey,
    /// A client of the server names a file.
    InlineKey,
    /// The parameter is no public key.
    PublicKeyForms,
    /// There is no decoder.
    InstallDecoder,
    /// The decoder is of another release.
    SameRelease,
    /// Others can change a file or directory: the command that mends it.
    Protect {
        /// The command.
        fix: String,
    },
    /// The decoder takes too long.
    SlowDecoder,
    /// The server ends, or is busy.
    TryAgain,
    /// What the decoder says itself.
    OfDecoder(String),
    /// The address of the socket is no address.
    SocketAddress,
    /// Something else lies at the path of the socket.
    OtherSocketPath,
    /// A server listens already.
    OneServer,
    /// There is no group of this name.
    NoGroup,
    /// Standard input is no socket.
    SocketActivation,
    /// The socket cannot be made.
    SocketDirectory,
}

impl fmt::Display for KeyproviderHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RemoveUnwrap => {
                "take `--unwrap` out of the arguments of the stream processor; it is for `keycell \
                 keyprovider`"
            }
            Self::UnwrapByKeyprovider => {
                "`keycell keyprovider` passes one; by hand, `3<FILE` with what `keycell payload` wrote"
            }
            Self::UnwrapWithComponent => {
                "remove `--guest`, or choose a guest that is a component: `keycell guest list` shows \
                 them"
            }
            Self::Protocol => {
                "skopeo, podman and other programs with ocicrypt write it: docs/keyprovider.md has \
                 their configuration"
            }
            Self::RequestTooLong => "a wrapped key of a layer has a few thousand bytes",
            Self::NamePublicKey => {
                "name one as `provider:keycell:PUBLIC.pem`; `keycell keygen` makes one"
            }
            Self::InlineKey => {
                "a server reads no files for its clients: pass the key itself, as \
                 `provider:keycell:$(base64 -w 0 PUBLIC.pem)`"
            }
            Self::PublicKeyForms => {
                "it is a public key for `jwe:` in PEM, DER or JWK, as a file or in base64"
            }
            Self::InstallDecoder => {
                "`ctd-decoder` of the same release belongs beside `keycell`, or `--decoder` names it"
            }
            Self::SameRelease => {
                "install `keycell` and `ctd-decoder` of the same release; `--decoder` names another \
                 program"
            }
            Self::Protect { fix } => return f.write_str(fix),
            Self::SlowDecoder => "the log of `ctd-decoder` says what it was doing",
            Self::TryAgain => "try again in a moment",
            Self::OfDecoder(text) => return f.write_str(text),
            Self::SocketAddress => "it is named as `unix:/run/keycell/keyprovider.sock`",
            Self::OtherSocketPath => {
                "choose another path, or remove what lies there if you know what it is"
            }
            Self::OneServer => "stop the server that listens there, or choose another path",
            Self::NoGroup => "`getent group` lists the groups of this machine",
            Self::SocketActivation => {
                "`--listen systemd` is for a unit with `StandardInput=socket` and its socket unit; \
                 by hand, `--listen unix:PATH`"
            }
            Self::SocketDirectory => {
                "the directory has to exist, and the user of the server has to be able to write there"
            }
        })
    }
}
