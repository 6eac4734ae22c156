//! `keycell encrypt`: encrypts layers for recipients, and adds recipients to encrypted layers.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use getrandom::SysRng;
use ocicrypt::encrypt;
use ocicrypt::layer::{Encryptor, LayerKey, PlainReader};
use ocicrypt::media_type;
use zeroize::Zeroizing;

use crate::keys::Keys;
use crate::layer_selection::Selection;
use crate::layout::{Image, Name};
use crate::layout_writer::Target;
use crate::recipient::{Options, Wanted};
use crate::rewrite::{CHUNK, Exchange, Layers, Source, rewrite};
use keycell_images::documents::Descriptor;

/// The arguments of `keycell encrypt`.
#[derive(Args)]
pub struct Arguments {
    /// A directory with an OCI image layout; `oci:DIR` and `oci:DIR:TAG` as skopeo writes it
    source: String,
    /// Where the encrypted image goes, named likewise; a layout that is there keeps its other
    /// images
    destination: String,
    /// Who will be able to decrypt: `jwe:PUBLIC.pem`, `pkcs7:CERTIFICATE.pem`, `pgp:ADDRESS` (or a
    /// key ID, or a fingerprint), `pkcs11:PUBLIC.pem` (or a PKCS#11 key file), `provider:NAME[:PARAMETER]`
    #[arg(long = "recipient", short, value_name = "RECIPIENT", required = true)]
    recipients: Vec<String>,
    /// Private keys, a directory or a file: layers that are encrypted already get the recipients
    /// added, and their bytes stay as they are
    #[arg(long, value_name = "DIR|FILE")]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    selection: Selection,
}

/// Encrypts the chosen layers of an image.
pub fn run(arguments: Arguments) -> Result<Outcome> {
    let wanted = arguments.recipients.iter();
    let wanted: Result<Vec<_>> =
        wanted.map(|name| Wanted::parse(name, &arguments.options)).collect();
    let image = Image::open(&arguments.source)?;
    let destination = Name::parse(&arguments.destination);
    let target = Target::open(&destination.root)?;
    let keys = (!arguments.keys.is_empty()).then(|| Keys::read(&arguments.keys)).transpose()?;
    let mut encryption = Encryption { wanted: wanted?, keys, added: 0, passed_over: Vec::new() };
    let (entry, count) = rewrite(&image, &target, &arguments.selection, &mut encryption)?;
    if count == 0 {
        let types = encryption.passed_over.join("`, `");
        bail!("there is no layer that could be encrypted: the media types are `{types}`");
    }
    target.publish(entry, destination.tag.as_deref())?;
    let Encryption { wanted, added, .. } = encryption;
    Ok(Outcome { recipients: wanted, encrypted: count - added, added })
}

/// What was encrypted, and for whom.
pub struct Outcome {
    recipients: Vec<Wanted>,
    encrypted: usize,
    added: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recipients = self.recipients.iter().map(Wanted::to_string).collect::<Vec<_>>();
        let recipients = recipients.join(", ");
        if self.encrypted > 0 {
            writeln!(f, "encrypted {} for {recipients}", Layers(self.encrypted))?;
        }
        if self.added > 0 {
            writeln!(f, "added to {}: {recipients}", Layers(self.added))?;
        }
        Ok(())
    }
}

const NOT_OPENED: &str = "the wrapped key of this layer is not authenticated (CMS with CBC), and what \
    came out of it does not open the layer: the keys are the wrong ones, or the image was altered";

struct Encryption {
    wanted: Vec<Wanted>,
    keys: Option<Keys>,
    /// Layers that were encrypted before.
    added: usize,
    /// Media types of blobs that are no layers, such as an attestation.
    passed_over: Vec<String>,
}

impl Encryption {
    fn recipients(&self, key: &LayerKey) -> Result<Vec<encrypt::Recipient>> {
        let each = self.wanted.iter().map(|wanted| wanted.recipients(key));
        Ok(each.collect::<Result<Vec<_>>>()?.concat())
    }

    fn add_recipients(&mut self, layer: &Descriptor, source: &Source<'_>) -> Result<Descriptor> {
        let hint = "this layer is encrypted already: with `--keys` and a key that opens it, the \
                    recipients are added";
        let keys = self.keys.as_mut().context(hint)?;
        let opened = keys.unwrap(layer)?;
        let key = opened.key;
        if !opened.is_authenticated {
            // The key may be wrong, and then the new recipients could not open the layer.
            let mut plain = PlainReader::new(source.read(layer)?, &key);
            while plain.next_chunk().context(NOT_OPENED)?.is_some() {}
        }
        let existing = layer.annotations();
        let all = encrypt::add_recipients(&existing, &key, &self.recipients(&key)?, &mut SysRng)?;
        Ok(layer.with_annotations(all))
    }
}

impl Exchange for Encryption {
    fn layer(&mut self, layer: &Descriptor, source: Source<'_>) -> Result<Option<Descriptor>> {
        let media_type = layer.media_type();
        if media_type::plain(media_type).is_ok() {
            let layer = self.add_recipients(layer, &source)?;
            source.copy(&layer)?;
            self.added += 1;
            return Ok(Some(layer));
        }
        let Some(encrypted) = media_type::encrypted(media_type) else {
            self.passed_over.push(media_type.escape_debug().to_string());
            return Ok(None);
        };
        let mut plain = source.read(layer)?;
        let mut blob = source.target.blob()?;
        let mut encryptor = Encryptor::new(&mut SysRng)?;
        let mut buffer = Zeroizing::new(vec![0; CHUNK]);
        loop {
            let length = plain.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            encryptor.update(&mut buffer[..length]);
            blob.write_all(&buffer[..length])?;
        }
        let key = encryptor.finish();
        let digest = key.digest().unwrap_or_default();
        ensure!(layer.digest() == digest, "the layer changed while it was read");
        let wrapped = encrypt::annotations(&key, &self.recipients(&key)?, &mut SysRng)?;
        let all: BTreeMap<_, _> = layer.annotations().into_iter().chain(wrapped).collect();
        let mut layer = layer.with_annotations(all);
        let kept = blob.keep()?;
        layer.media_type = Some(encrypted);
        kept.describe(&mut layer);
        Ok(Some(layer))
    }
}
