//! Recipients, named in skopeo's form.

use std::fmt;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use keycell_broker::Refusal;
use keycell_broker::providers::{self, Providers};
use keycell_broker::serve::configured_providers;
use keycell_broker::tokens::{Policy, TokenKey};
use keycell_diagnostic::Hint;
use keycell_diagnostic::hint::RecipientHint;
use ocicrypt::encrypt::{self, Pkcs7Form, Pkcs11Hash, Recipient, RecipientError, RecipientWarning};
use ocicrypt::layer::LayerKey;

use crate::keyprovider;
use crate::output::tell;

/// Options for wrapping that the name of a recipient does not hold.
#[derive(Args)]
pub struct Options {
    /// The hash for RSA-OAEP with PKCS#11 recipients: SoftHSM knows `sha1` only
    #[arg(long, value_name = "HASH", env = "OCICRYPT_OAEP_HASHALG", default_value = "sha256")]
    #[arg(value_parser = ["sha1", "sha256"])]
    oaep_hash: String,
    /// The form of CMS messages for `pkcs7` recipients: `go` is what Go ocicrypt writes and reads;
    /// `auth-enveloped` is RFC 5083 with RSA-OAEP, which openssl reads and Go ocicrypt does not
    #[arg(long, value_name = "FORM", default_value = "go")]
    #[arg(value_parser = ["go", "auth-enveloped"])]
    pkcs7_form: String,
    /// The hash for RSA-OAEP with JWE recipients: `sha1` is what Go ocicrypt writes, `sha256` it reads
    /// too. A decoder with `min-algorithms = "modern"` opens only the latter
    #[arg(long, value_name = "HASH", default_value = "sha1")]
    #[arg(value_parser = ["sha1", "sha256"])]
    jwe_oaep_hash: String,
    /// Public OpenPGP keys, binary or armored, in the place of those that `gpg` knows
    #[arg(long, value_name = "FILE")]
    pgp_keyring: Option<String>,
}

/// A recipient that was named on the command line.
pub enum Wanted {
    /// A recipient with public keys. An OpenPGP address may have several.
    Keys {
        /// The name on the command line.
        name: String,
        /// One recipient for each key.
        recipients: Vec<Recipient>,
    },
    /// `keycell keyprovider` as it is built in: the public key.
    Keycell {
        /// The name on the command line.
        name: String,
        /// The public key.
        recipient: Box<Recipient>,
    },
    /// A key provider, which wraps each layer's key itself.
    Provider {
        /// The name of the provider.
        name: String,
        /// The parameter for the provider.
        parameters: Vec<Vec<u8>>,
        /// All configured providers.
        providers: Providers,
    },
}

impl Wanted {
    /// Reads what `name` names.
    ///
    /// # Errors
    /// A form that is none of skopeo's, or a file that is no public key.
    pub fn parse(name: &str, options: &Options) -> Result<Self> {
        let forms = "`jwe:FILE`, `pkcs7:FILE`, `pgp:ADDRESS`, `pkcs11:FILE` or `provider:NAME`";
        let (scheme, rest) = name
            .split_once(':')
            .with_context(|| format!("`{name}` is not a recipient: it is named as {forms}"))?;
        let one = |recipient: Result<Recipient, RecipientError>| recipient.map(|one| vec![one]);
        let recipients = match scheme {
            "jwe" => one(jwe(&read(rest)?, options)),
            "pkcs7" => one(pkcs7(&read(rest)?, options)),
            "pgp" => pgp(rest, options.pgp_keyring.as_deref())?,
            "pkcs11" => one(pkcs11(rest, options)?),
            "provider" => return Self::provider(name, rest),
            _ => bail!("`{scheme}` is not a scheme: a recipient is named as {forms}"),
        };
        let recipients = recipients.map_err(|error| anyhow::anyhow!("`{rest}` is {error}"))?;
        Ok(Self::Keys { name: name.to_owned(), recipients })
    }

    /// `NAME` or `NAME:PARAMETER`.
    fn provider(whole: &str, rest: &str) -> Result<Self> {
        let (name, parameter) = rest.split_once(':').map_or((rest, None), |(a, b)| (a, Some(b)));
        let providers = configured_providers()?;
        let providers = providers.filter(|all| all.names().any(|known| known == name));
        if providers.is_none()
            && let (keyprovider::NAME, Some(key)) = (name, parameter)
        {
            let recipient = keyprovider::recipient(key.as_bytes(), 1, keyprovider::Files::Read);
            let recipient = Box::new(recipient.map_err(keycell_diagnostic::Diagnostic::from)?);
            return Ok(Self::Keycell { name: whole.to_owned(), recipient });
        }
        let providers = providers.with_context(|| {
            format!("no key provider `{name}` in the file that `OCICRYPT_KEYPROVIDER_CONFIG` names")
        })?;
        // What Go passes where nothing is named.
        let parameters = vec![parameter.unwrap_or("Enabled").as_bytes().to_vec()];
        Ok(Self::Provider { name: name.to_owned(), parameters, providers })
    }

    /// What should be known about the recipient, each with its name.
    fn warnings(&self, now: SystemTime) -> Vec<(RecipientWarning, &str)> {
        match self {
            Self::Keys { name, recipients } => {
                let warnings = recipients.iter().flat_map(|recipient| recipient.warnings(now));
                warnings.map(|warning| (warning, name.as_str())).collect()
            }
            Self::Keycell { name, recipient } => {
                let warnings = recipient.warnings(now).into_iter();
                warnings.map(|warning| (warning, name.as_str())).collect()
            }
            Self::Provider { .. } => Vec::new(),
        }
    }

    /// The recipients for the key of one layer.
    ///
    /// # Errors
    /// Of a key provider.
    pub fn recipients(&self, key: &LayerKey) -> Result<Vec<Recipient>> {
        match self {
            Self::Keys { recipients, .. } => Ok(recipients.clone()),
            Self::Keycell { recipient, .. } => {
                let wrapped = keyprovider::wrap(key, std::slice::from_ref(recipient));
                let wrapped = wrapped.map_err(keycell_diagnostic::Diagnostic::from)?;
                Ok(vec![Recipient::provider(keyprovider::NAME, &wrapped)?])
            }
            Self::Provider { name, parameters, providers } => {
                let options = encrypt::private_options(key);
                let wrapped = providers.wrap(name, &options, parameters, providers::TIMEOUT);
                let wrapped = wrapped?;
                Ok(vec![Recipient::provider(name, &wrapped)?])
            }
        }
    }
}

/// Prints on standard error what should be known about the recipients: each warning once, with the
/// names of those whom it concerns, and its hint.
pub fn print_warnings(wanted: &[Wanted]) {
    let mut warnings: Vec<(RecipientWarning, Vec<&str>)> = Vec::new();
    for (warning, name) in wanted.iter().flat_map(|wanted| wanted.warnings(SystemTime::now())) {
        match warnings.iter_mut().find(|(known, _)| *known == warning) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => warnings.push((warning, vec![name])),
        }
    }
    for (warning, names) in warnings {
        tell(format_args!("keycell: warning: `{}`: {warning}\n", names.join("`, `")));
        if let Some(hint) = hint(&warning) {
            tell(format_args!("hint: {hint}\n"));
        }
    }
}

fn hint(warning: &RecipientWarning) -> Option<Hint> {
    let hint = match warning {
        RecipientWarning::Expired(_) | RecipientWarning::NotYetValid(_) => {
            RecipientHint::RenewCertificate
        }
        RecipientWarning::KeyUsage => RecipientHint::CertificateForEncryption,
        RecipientWarning::ShortRsaKey(_) => RecipientHint::LongerKey,
        RecipientWarning::JweSha1 => RecipientHint::JweOaepSha256,
        RecipientWarning::JwkSha1 => RecipientHint::JwkAlgorithm,
        RecipientWarning::TokenSha1 => RecipientHint::TokenOaepSha256,
        RecipientWarning::Pkcs7Pkcs1v15 => RecipientHint::AuthEnveloped,
        RecipientWarning::PgpPkcs1v15 => RecipientHint::OpenPgpCurve,
        _ => return None,
    };
    Some(hint.into())
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { name, recipients } => {
                let kinds: Vec<_> = recipients.iter().map(Recipient::to_string).collect();
                write!(f, "`{name}` ({})", kinds.join(", "))
            }
            Self::Keycell { name, .. } => write!(f, "`{name}`"),
            Self::Provider { name, .. } => write!(f, "`provider:{name}`"),
        }
    }
}

/// The public keys of the key ring, or of GnuPG, with this address, key ID or fingerprint.
///
/// # Errors
/// A key ring that cannot be read, or no `gpg`.
pub fn pgp(name: &str, keyring: Option<&str>) -> Result<Result<Vec<Recipient>, RecipientError>> {
    let ring = match keyring {
        Some(path) => read(path)?,
        None => {
            let exported = Command::new("gpg").args(["--batch", "--export", "--", name]).output();
            let exported =
                exported.context("cannot run `gpg`; `--pgp-keyring` names a file in its place")?;
            exported.stdout
        }
    };
    ensure!(!ring.is_empty(), "`gpg` knows no `{name}`: `gpg --list-keys` lists whom it knows");
    let whom = name.parse().map_err(RecipientError::from);
    Ok(whom.and_then(|whom| Recipient::pgp(&ring, &whom, SystemTime::now())))
}

/// A certificate.
fn pkcs7(certificate: &[u8], options: &Options) -> Result<Recipient, RecipientError> {
    let form = match options.pkcs7_form.as_str() {
        "auth-enveloped" => Pkcs7Form::AuthEnveloped,
        _ => Pkcs7Form::Go,
    };
    Recipient::pkcs7(certificate).map(|recipient| recipient.with_pkcs7_form(form))
}

/// A public key.
fn jwe(key: &[u8], options: &Options) -> Result<Recipient, RecipientError> {
    let recipient = Recipient::jwe(key)?;
    Ok(match options.jwe_oaep_hash.as_str() {
        "sha256" => recipient.with_jwe_oaep_sha256(),
        _ => recipient,
    })
}

/// A public key, or a PKCS#11 key file, whose token knows the public key.
fn pkcs11(name: &str, options: &Options) -> Result<Result<Recipient, RecipientError>> {
    let hash = match options.oaep_hash.as_str() {
        "sha1" => Pkcs11Hash::Sha1,
        _ => Pkcs11Hash::Sha256,
    };
    let bytes = read(name)?;
    let Some(key) = TokenKey::parse(&bytes) else { return Ok(Recipient::pkcs11(&bytes, hash)) };
    let refused = |refusal| anyhow::anyhow!("`{name}`: {refusal}");
    let policy = Policy::find(|name| std::env::var_os(name)).map_err(refused)?;
    let policy = policy.context(
        "no PKCS#11 module is allowed: `OCICRYPT_CONFIG` names the file that allows some",
    )?;
    let public =
        key.map_err(Refusal::from).and_then(|key| key.public_key(&policy)).map_err(refused)?;
    Ok(Recipient::pkcs11(&public, hash))
}

/// Reads the file that a recipient names.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read `{path}`"))
}
