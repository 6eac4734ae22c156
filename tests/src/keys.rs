//! Private keys made by openssl, and the files that nodes keep them in.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::tools::Tool;

/// What an image is encrypted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA, with so many bits.
    Rsa(u32),
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521: the one whose field is not a whole number of words.
    P521,
}

impl KeyKind {
    /// Every kind that skopeo encrypts to with `jwe:`.
    pub const ALL: [Self; 5] =
        [Self::Rsa(2048), Self::Rsa(4096), Self::P256, Self::P384, Self::P521];

    /// The forms in which openssl writes keys of this kind.
    pub fn forms(self) -> &'static [KeyForm] {
        use KeyForm::{
            Pkcs1Der, Pkcs1Pem, Pkcs8Der, Pkcs8Pem, Sec1Der, Sec1Pem, Sec1PemWithParameters,
        };
        match self {
            Self::Rsa(_) => &[Pkcs8Pem, Pkcs8Der, Pkcs1Pem, Pkcs1Der],
            _ => &[Pkcs8Pem, Pkcs8Der, Sec1Pem, Sec1PemWithParameters, Sec1Der],
        }
    }

    fn curve(self) -> Option<&'static str> {
        match self {
            Self::Rsa(_) => None,
            Self::P256 => Some("prime256v1"),
            Self::P384 => Some("secp384r1"),
            Self::P521 => Some("secp521r1"),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "rsa{bits}"),
            Self::P256 => f.write_str("p256"),
            Self::P384 => f.write_str("p384"),
            Self::P521 => f.write_str("p521"),
        }
    }
}

/// How a private key lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// `BEGIN PRIVATE KEY` (RFC 5958).
    Pkcs8Pem,
    /// The same in binary.
    Pkcs8Der,
    /// `BEGIN RSA PRIVATE KEY` (RFC 8017).
    Pkcs1Pem,
    /// The same in binary.
    Pkcs1Der,
    /// `BEGIN EC PRIVATE KEY` (RFC 5915). Go ctd-decoder refuses it.
    Sec1Pem,
    /// With `BEGIN EC PARAMETERS` before it, as `openssl ecparam -genkey` writes it.
    Sec1PemWithParameters,
    /// SEC1 in binary.
    Sec1Der,
}

impl fmt::Display for KeyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkcs8Pem => "pkcs8-pem",
            Self::Pkcs8Der => "pkcs8-der",
            Self::Pkcs1Pem => "pkcs1-pem",
            Self::Pkcs1Der => "pkcs1-der",
            Self::Sec1Pem => "sec1-pem",
            Self::Sec1PemWithParameters => "sec1-pem-with-parameters",
            Self::Sec1Der => "sec1-der",
        })
    }
}

/// A pair of keys: the public one in a file for skopeo, the private one in any form.
#[derive(Debug)]
pub struct KeyPair {
    kind: KeyKind,
    private: PathBuf,
    public: PathBuf,
}

impl KeyPair {
    /// Makes a pair, in files named `NAME.pem` and `NAME.pub.pem`.
    pub fn generate(dir: &Path, name: &str, kind: KeyKind) -> Result<Self> {
        let private = dir.join(format!("{name}.pem"));
        let public = dir.join(format!("{name}.pub.pem"));
        let (algorithm, option) = match (kind, kind.curve()) {
            (KeyKind::Rsa(bits), _) => ("RSA", format!("rsa_keygen_bits:{bits}")),
            (_, curve) => ("EC", format!("ec_paramgen_curve:{}", curve.unwrap_or_default())),
        };
        openssl(
            &["genpkey", "-algorithm", algorithm, "-pkeyopt", &option, "-out"],
            &[private.as_os_str()],
        )?;
        openssl(
            &["pkey", "-pubout", "-in"],
            &[private.as_os_str(), "-out".as_ref(), public.as_os_str()],
        )?;
        Ok(Self { kind, private, public })
    }

    /// The public key's file, for `skopeo copy --encryption-key jwe:FILE`.
    pub fn public(&self) -> &Path {
        &self.public
    }

    /// A certificate that the key has signed itself, in a file named `NAME.crt.pem`: for
    /// `skopeo copy --encryption-key pkcs7:FILE`. Each call makes another serial number.
    pub fn certify(&self, subject: &str, more: &[&str]) -> Result<PathBuf> {
        let path = self.private.with_extension("crt.pem");
        let fixed = ["req", "-x509", "-days", "36500", "-subj", subject];
        let args: Vec<_> = fixed.iter().chain(more).copied().chain(["-key"]).collect();
        openssl(&args, &[self.private.as_os_str(), "-out".as_ref(), path.as_os_str()])?;
        Ok(path)
    }

    /// What an openssl command that reads the private key makes of it: `-in FILE` comes last.
    pub fn converted(&self, args: &[&str]) -> Result<Vec<u8>> {
        let args: Vec<_> = args.iter().copied().chain(["-in"]).collect();
        openssl(&args, &[self.private.as_os_str()])
    }

    /// The private key as a file of this form would hold it.
    pub fn private(&self, form: KeyForm) -> Result<Vec<u8>> {
        let key = self.private.as_os_str();
        match form {
            KeyForm::Pkcs8Pem => Ok(fs::read(key)?),
            KeyForm::Pkcs8Der => {
                openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"], &[key])
            }
            KeyForm::Pkcs1Pem => {
                let pem = openssl(&["rsa", "-traditional", "-in"], &[key])?;
                starting(pem, b"-----BEGIN RSA PRIVATE KEY-----")
            }
            KeyForm::Pkcs1Der => {
                openssl(&["rsa", "-traditional", "-outform", "DER", "-in"], &[key])
            }
            KeyForm::Sec1Pem => {
                let pem = openssl(&["ec", "-in"], &[key])?;
                starting(pem, b"-----BEGIN EC PRIVATE KEY-----")
            }
            KeyForm::Sec1PemWithParameters => {
                let curve = self.kind.curve().unwrap_or_default();
                let mut pem = openssl(&["ecparam", "-name", curve], &[])?;
                pem.extend(self.private(KeyForm::Sec1Pem)?);
                starting(pem, b"-----BEGIN EC PARAMETERS-----")
            }
            KeyForm::Sec1Der => openssl(&["ec", "-outform", "DER", "-in"], &[key]),
        }
    }

    /// Puts the private key into a directory, as the only key there is.
    pub fn install(&self, form: KeyForm, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("key");
        fs::write(&path, self.private(form)?)?;
        Ok(path)
    }
}

/// openssl changed the form that a command writes between its versions: be sure of it.
fn starting(pem: Vec<u8>, label: &[u8]) -> Result<Vec<u8>> {
    ensure!(pem.starts_with(label), "openssl wrote another form than {}", label.escape_ascii());
    Ok(pem)
}

fn openssl(args: &[&str], rest: &[&OsStr]) -> Result<Vec<u8>> {
    Tool::Openssl.run(args.iter().map(OsStr::new).chain(rest.iter().copied()))
}
