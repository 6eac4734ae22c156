//! Why a step failed and what would mend it, in words for the person who runs the node.

use ocicrypt::layer::LayerError;
use ocicrypt::payload::PayloadError;
use ocicrypt::unwrap::UnwrapError;

/// An error and the ways out of it. Lower case, no full stop, values in backticks, no secrets.
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// What would mend it, a line each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure with one way out, or none if `hint` is empty.
    pub fn new(message: impl Into<String>, hint: &str) -> Self {
        let hints = if hint.is_empty() { Vec::new() } else { vec![hint.to_owned()] };
        Self { message: message.into(), hints }
    }
}

/// Go ctd-decoder says `type with url : not found` or `bad file descriptor`; Keycell names the
/// ways in which containerd comes to call a decoder without a payload.
fn no_payload() -> Failure {
    let hints = [
        "containerd 2.x pulls through its transfer service, which passes no payload: set \
         `use_local_image_pull = true` in `[plugins.\"io.containerd.cri.v1.images\"]` and \
         `key_model = \"node\"` in `[plugins.\"io.containerd.cri.v1.images\".image_decryption]`",
        "containerd 1.x: set `key_model = \"node\"` in \
         `[plugins.\"io.containerd.grpc.v1.cri\".image_decryption]`",
        "an image that was pulled earlier is unpacked without a payload: remove it and pull it \
         again, for example `crictl rmi IMAGE && crictl pull IMAGE`",
        "`ctr images pull` and `ctr images import` pass none: pull with `crictl pull`, or use \
         `ctr-enc`",
        "only the processors `io.containerd.ocicrypt.decoder.v1.tar` and \
         `io.containerd.ocicrypt.decoder.v1.tar.gzip` are given one: list a zstd media type in \
         the `accepts` of the `tar.gzip` processor",
    ];
    Failure {
        message: "containerd passed no payload on descriptor 3, so no wrapped key is known"
            .to_owned(),
        hints: hints.map(str::to_owned).to_vec(),
    }
}
