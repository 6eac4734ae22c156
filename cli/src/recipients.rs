//! `keycell recipients`: removes recipients from encrypted layers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Error, Result, bail};
use clap::{Args, Subcommand};
use keycell_diagnostic::Diagnostic;
use keycell_diagnostic::hint::RecipientHint;
use keycell_images::documents::Descriptor;
use ocicrypt::encrypt::{
    ExistingRecipient, ExistingSelector, PgpSelector, Recipient, RemoveError, remove_recipients,
};
use ocicrypt::media_type::ENCRYPTED;

use crate::image::{
    Action, Copying, Decision, Exchange, Few, ImageError, Layers, Named, Report, Work,
};
use crate::keys::Keys;
use crate::recipient::{self, read};

/// The arguments of `keycell recipients`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Remove recipients from the encrypted layers of an image, without changing the layers
    ///
    /// This revokes nothing: whoever could decrypt the layers before still can, with the old manifest or
    /// with keys that were kept. To revoke, encrypt the plain image anew.
    Remove(Remove),
}

/// The arguments of `keycell recipients remove`.
#[derive(Args)]
struct Remove {
    #[command(flatten)]
    copying: Copying,
    /// Who is removed: `jwe:PUBLIC.pem`, `pkcs7:CERTIFICATE.pem`, `pgp:ADDRESS` (or a key ID, or a
    /// fingerprint), `provider:NAME`. skopeo writes JWE that names no key: use `--key`
    #[arg(long = "recipient", short, value_name = "RECIPIENT", required_unless_present = "keys")]
    recipients: Vec<String>,
    /// The private key of who is removed: each recipient whose wrapped key it opens
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Public OpenPGP keys, binary or armored, in the place of those that `gpg` knows
    #[arg(long, value_name = "FILE")]
    pgp_keyring: Option<String>,
}

/// Removes recipients.
///
/// # Errors
/// A recipient that no layer has, or the last one of a layer.
pub fn run(arguments: Arguments) -> Result<()> {
    let Verb::Remove(Remove { copying, recipients, keys, pgp_keyring }) = arguments.verb;
    let named = recipients.iter().map(|name| {
        let selectors = parse(name, pgp_keyring.as_deref())?;
        Ok(Asked { name: name.clone(), how: How::Named(selectors), is_met: false })
    });
    let with_key = keys.iter().map(|file| {
        let name = format!("--key {}", file.display());
        Ok(Asked {
            name,
            how: How::Key(Box::new(Keys::read(std::slice::from_ref(file))?)),
            is_met: false,
        })
    });
    let asked = named.chain(with_key).collect::<Result<Vec<_>>>()?;
    copying.run(Vec::new(), Removal { asked, existing: Vec::new(), removed: Vec::new() })
}

/// The recipients that `name` names.
fn parse(name: &str, pgp_keyring: Option<&str>) -> Result<Vec<ExistingSelector>> {
    let (scheme, rest) = name.split_once(':').unwrap_or((name, ""));
    let one = |recipient| vec![ExistingSelector::Recipient(recipient)];
    let recipients = match scheme {
        "jwe" => Recipient::jwe(&read(rest)?).map(one),
        "pkcs7" => Recipient::pkcs7(&read(rest)?).map(one),
        "pgp" => {
            let by_number = rest.parse::<PgpSelector>().ok().and_then(|whom| {
                ExistingSelector::pgp(&whom) // what the message itself says needs no key ring
            });
            match by_number {
                Some(selector) => return Ok(vec![selector]),
                None => recipient::pgp(rest, pgp_keyring)?
                    .map(|found| found.into_iter().map(ExistingSelector::Recipient).collect()),
            }
        }
        "provider" if !rest.is_empty() => {
            return Ok(vec![ExistingSelector::Provider(rest.to_owned())]);
        }
        _ => bail!(
            "`{name}` is not a recipient that can be removed: it is named as `jwe:FILE`, \
             `pkcs7:FILE`, `pgp:ADDRESS` or `provider:NAME`"
        ),
    };
    recipients.with_context(|| format!("`{rest}`"))
}

/// Who is to be removed.
struct Asked {
    /// As on the command line.
    name: String,
    how: How,
    /// Whether a layer has this recipient.
    is_met: bool,
}

enum How {
    Named(Vec<ExistingSelector>),
    Key(Box<Keys>),
}

struct Removal {
    asked: Vec<Asked>,
    /// All recipients of the layers, each once.
    existing: Vec<String>,
    /// Those that are removed, each once.
    removed: Vec<String>,
}

impl Removal {
    /// Whether someone is asked to be removed.
    fn is_asked(&mut self, layer: &Descriptor, recipient: &ExistingRecipient) -> Result<bool> {
        let mut is_asked = false;
        for asked in &mut self.asked {
            let is_this = match &asked.how {
                How::Named(selectors) => selectors.iter().any(|selector| recipient.is(selector)),
                How::Key(keys) => {
                    keys.opens(&layer.with_annotations(recipient.alone(&layer.annotations())))?
                }
            };
            asked.is_met |= is_this;
            is_asked |= is_this;
        }
        Ok(is_asked)
    }
}

/// Adds a text that is not yet there.
fn add(text: String, to: &mut Vec<String>) {
    if !to.contains(&text) {
        to.push(text);
    }
}

impl Exchange for Removal {
    /// The annotations that remain.
    type Ready = BTreeMap<String, String>;

    fn decide(&mut self, layer: &Descriptor) -> Result<Decision<Self::Ready>> {
        if !layer.media_type().ends_with(ENCRYPTED) {
            return Ok(Decision::Keep);
        }
        let annotations = layer.annotations();
        let existing = ExistingRecipient::all(&annotations);
        let mut removed = Vec::new();
        for recipient in &existing {
            add(format!("`{recipient}`"), &mut self.existing);
            if self.is_asked(layer, recipient)? {
                add(format!("`{recipient}`"), &mut self.removed);
                removed.push(recipient);
            }
        }
        if removed.is_empty() {
            return Ok(Decision::Keep);
        }
        let remaining = remove_recipients(&annotations, &removed);
        Ok(Decision::Exchange(remaining.map_err(|error| match error {
            RemoveError::Last => {
                Error::from(Diagnostic::new(error.to_string(), RecipientHint::LastRecipient))
            }
            error => error.into(),
        })?))
    }

    fn refuse(&self, layers: Few<Named>) -> ImageError {
        ImageError::CannotEncrypt(layers)
    }

    fn object(&self) -> Option<Error> {
        let unmet = self.asked.iter().find(|asked| !asked.is_met)?;
        if self.existing.is_empty() {
            return Some(ImageError::NothingEncrypted.into());
        }
        let refusal = Unmet { name: unmet.name.clone(), existing: Few::of(self.existing.clone()) };
        let hint = match unmet.how {
            How::Named(_) => RecipientHint::RemoveByKey,
            How::Key(_) => RecipientHint::RemoveByName,
        };
        Some(Diagnostic::new(refusal.to_string(), hint).into())
    }

    fn media_type(&self, layer: &Descriptor, _remaining: &Self::Ready) -> String {
        layer.media_type().to_owned()
    }

    fn exchange(
        &self,
        layer: &Descriptor,
        remaining: &Self::Ready,
        work: &Work<'_>,
    ) -> Result<Descriptor> {
        work.copy(layer)?;
        Ok(layer.with_annotations(remaining.clone()))
    }

    fn text(&self, report: &Report, is_done: bool) -> String {
        let removed = if is_done { "removed" } else { "would remove" };
        let (count, whom) = (Layers(report.count(Action::KeysChanged)), self.removed.join(", "));
        format!(
            "{removed} {whom} from {count}\n\
             note: this revokes nothing: whoever has an old manifest or the layer keys can still decrypt\n"
        )
    }

    fn recipients(&self) -> Vec<String> {
        self.removed.clone()
    }
}

/// No layer has a recipient.
struct Unmet {
    name: String,
    existing: Few<String>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, existing } = self;
        write!(f, "no recipient fits `{name}`: there is {existing}")
    }
}
