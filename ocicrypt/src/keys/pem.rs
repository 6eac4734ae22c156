//! Private keys and certificates in blocks of PEM.

use super::der::Found;
use super::{Contents, NotAKey, Opener, der, openssh};
use crate::encoding::pem;
use crate::encoding::text::printable;

/// Reads all blocks.
pub(super) fn parse(bytes: &[u8], opener: &mut Opener<'_>, parsed: &mut Contents) {
    let mut curve = None;
    for (label, block) in pem::blocks(bytes) {
        if parsed.is_full() {
            return;
        }
        let Some(block) = block else {
            parsed.add(Err(NotAKey::Malformed("PEM")));
            continue;
        };
        let content = block.content.as_slice();
        match label {
            "EC PARAMETERS" => curve = der::parse_curve(content),
            _ if block.dek_info.is_some() => {
                let dek_info = block.dek_info.as_deref().unwrap_or_default();
                parsed.add(der::parse_encrypted_pem(dek_info, content, curve, opener));
            }
            "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                parsed.add_certificate(content);
            }
            label if label.ends_with("PUBLIC KEY") => parsed.add(Err(NotAKey::PublicKey)),
            "OPENSSH PRIVATE KEY" => {
                parsed.add(openssh::parse(content, opener.budget).map(Found::Open));
            }
            // The content decides, not the label: as in Go, any form may be under any label.
            label => match der::parse(content, curve, opener) {
                Err(_) if !label.ends_with("PRIVATE KEY") => {
                    parsed.add(Err(NotAKey::OtherPem(printable(label))));
                }
                found => parsed.add(found),
            },
        }
    }
}
