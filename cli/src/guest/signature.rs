//! Signatures of minisign over the source of a guest.

use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::ToolHint;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use keycell_guest_store::record::Signature;
use keycell_trusted_path::Trust;
use minisign_verify::{Error, PublicKey};

/// The signature, and the public key of its signer.
#[derive(Args)]
pub struct Signing {
    /// A signature over FILE that `minisign -S` made
    #[arg(long, value_name = "FILE.minisig", requires = "public_key")]
    signature: Option<PathBuf>,
    /// The signer's public key: a file that `minisign -G` made, or its second line
    #[arg(long, value_name = "KEY|FILE", requires = "signature")]
    public_key: Option<String>,
}

impl Signing {
    /// Verifies the signature of `source`. Returns its entry for the record and the signature itself,
    /// or none if no signature was given.
    ///
    /// # Errors
    /// A signature that is not that of this file and key.
    pub fn verified(&self, source: &[u8]) -> Result<Option<(Signature, String)>> {
        let (Some(path), Some(key)) = (&self.signature, &self.public_key) else { return Ok(None) };
        let shown = path.display();
        let text = fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
        let text = String::from_utf8_lossy(&text).into_owned(); // what is no text is no signature
        let key = public_key(key)?;
        let comment = verify(source, &text, &key)
            .map_err(|error| wrong(&format!("the signature `{shown}`"), &error))?;
        Ok(Some((Signature { key, comment }, text)))
    }
}

/// Verifies a signature that was installed with its source.
///
/// # Errors
/// A signature that is not that of this file and key.
pub fn still_verifies(source: &[u8], text: &str, signature: &Signature) -> Result<()> {
    let comment = verify(source, text, &signature.key)
        .map_err(|error| wrong("the signature in the store", &error))?;
    if comment != signature.comment {
        return Err(wrong("the signature in the store", &Error::InvalidSignature));
    }
    Ok(())
}

fn verify(source: &[u8], text: &str, key: &str) -> Result<String, Error> {
    let signature = minisign_verify::Signature::decode(text)?;
    PublicKey::from_base64(key)?.verify(source, &signature, false)?;
    Ok(signature.trusted_comment().to_owned())
}

/// The base64 of a public key that was given as such, or in a file.
fn public_key(given: &str) -> Result<String> {
    let text = match PublicKey::from_base64(given) {
        Ok(_) => return Ok(given.to_owned()),
        Err(_) => Trust::of_this_process().open_file(Path::new(given)),
    };
    // It decides whose guests run here.
    let text = match text {
        Err(error) if error.is_distrust() => {
            let what = format!("the public key `{given}` is not trusted: {error}");
            return Err(Diagnostic::new(what, ToolHint::Untrusted { fix: error.mend() }).into());
        }
        text => text.ok().and_then(|file| std::io::read_to_string(file).ok()),
    };
    let bad = |why: &str| {
        let message = format!("`{given}` is no public key of minisign: {why}");
        Diagnostic::new(message, ToolHint::NoPublicKey)
    };
    let text = text.ok_or_else(|| bad("neither a key nor a file that can be read"))?;
    let key = text.lines().nth(1).unwrap_or_default().trim();
    PublicKey::from_base64(key).map_err(|_| bad("the file has no key in its second line"))?;
    Ok(key.to_owned())
}

fn wrong(what: &str, error: &Error) -> anyhow::Error {
    let (why, hint) = match error {
        Error::InvalidSignature => {
            ("does not fit the file: one of them was altered", ToolHint::SignatureAltered)
        }
        Error::UnexpectedKeyId => ("was made with another key", ToolHint::SignatureOfAnotherKey),
        Error::UnsupportedLegacyMode => {
            ("is of a kind that minisign no longer makes", ToolHint::SignatureLegacy)
        }
        _ => ("is not one of minisign", ToolHint::SignatureForeign),
    };
    Diagnostic::new(format!("{what} {why}"), hint).into()
}
