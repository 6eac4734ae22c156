//! Flags about places where images are.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgAction, Args};
use keycell_images::registry::{Login, Options};
use keycell_images::{Source, Target, name::Name};
use zeroize::Zeroizing;

use super::ImageError;

/// The file with which kubelet pulls images.
const KUBELET: &str = "/var/lib/kubelet/config.json";

/// How registries are reached.
#[derive(Args)]
#[command(next_help_heading = "Registries")]
pub struct Registries {
    /// Sign in with this name, and with the password on standard input
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// The file with credentials, in the place of `$REGISTRY_AUTH_FILE`, `containers/auth.json` and
    /// `~/.docker/config.json`
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// With `false`, accept any certificate of a registry, and a registry without TLS
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    tls_verify: bool,
    /// Certificates (PEM) of authorities that certify registries, beside those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// Speak HTTP without TLS
    #[arg(long)]
    insecure: bool,
}

impl Registries {
    /// Opens an image.
    ///
    /// # Errors
    /// A name that is none, or an image that is not there.
    pub fn open(&self, name: &str) -> Result<Box<dyn Source>> {
        let name = Name::parse(name)?;
        Ok(name.open(&self.options(&[&name])?)?)
    }

    /// Opens an image, and says where its copy is to go.
    ///
    /// # Errors
    /// A name that is none or only that of a source, an image that is not there, or a login for two
    /// registries.
    pub fn open_for(&self, name: &str, to: &Destination) -> Result<(Box<dyn Source>, Place)> {
        let (name, destination) = (Name::parse(name)?, Name::parse(&to.destination)?);
        destination.check_destination()?;
        let options = self.options(&[&name, &destination])?;
        let source = name.open(&options)?;
        Ok((source, Place { name: destination, options, replace: to.force }))
    }

    /// Opens an image with the credentials of a node, if no others are named.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on_node(&self, name: &str) -> Result<Box<dyn Source>> {
        let name = Name::parse(name)?;
        let mut options = self.options(&[&name])?;
        let kubelet = Path::new(KUBELET);
        if options.credentials.is_none() && kubelet.is_file() {
            options.credentials = Some(kubelet.to_owned());
        }
        Ok(name.open(&options)?)
    }

    fn options(&self, names: &[&Name]) -> Result<Options> {
        Ok(Options {
            any_certificate: !self.tls_verify,
            plain_http: self.insecure,
            authorities: self.ca_file.clone(),
            login: self.login(names)?,
            credentials: self.authfile.clone(),
            patience: None,
        })
    }

    fn login(&self, names: &[&Name]) -> Result<Option<Login>> {
        let Some(username) = self.username.clone() else { return Ok(None) };
        let hosts = names.iter().filter_map(|name| match name {
            Name::Registry(reference) => Some(&reference.repository.host),
            _ => None,
        });
        let hosts: Vec<_> = hosts.collect();
        if let [first, second] = hosts[..]
            && first != second
        {
            let (first, second) = (first.clone(), second.clone());
            return Err(ImageError::LoginForTwo { first, second }.into());
        }
        if names.first().is_some_and(|source| source.is_standard_stream()) {
            return Err(ImageError::StandardInputTwice.into());
        }
        let mut password = Zeroizing::new(String::new());
        std::io::stdin().read_to_string(&mut password).context("cannot read the password")?;
        let password = Zeroizing::new(password.trim_end_matches(['\r', '\n']).to_owned());
        Ok(Some(Login { username, password }))
    }
}

/// Where an image goes.
#[derive(Args)]
pub struct Destination {
    /// Where the new image goes, named likewise, but for `docker-archive:`; the other images of a
    /// layout that is there stay
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// Replace an image that has the name of the destination
    #[arg(long)]
    force: bool,
}

/// A place for an image.
pub struct Place {
    /// Its name.
    pub name: Name,
    options: Options,
    replace: bool,
}

impl Place {
    /// Checks the place as far as that is possible without writing.
    ///
    /// # Errors
    /// A place that is something else, or has such an image already.
    pub fn check(&self) -> Result<()> {
        Ok(self.name.check_place(self.replace)?)
    }

    /// Prepares the place.
    ///
    /// # Errors
    /// A place that cannot be written to, or has such an image already.
    pub fn create(&self) -> Result<Box<dyn Target>> {
        Ok(self.name.create(&self.options, self.replace)?)
    }
}
