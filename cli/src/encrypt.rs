//! `keycell encrypt`: encrypts layers for recipients, and adds recipients to encrypted layers.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Error, Result, ensure};
use clap::Args;
use getrandom::SysRng;
use keycell_images::NewBlob;
use keycell_images::documents::Descriptor;
use ocicrypt::annotation;
use ocicrypt::encrypt;
use ocicrypt::layer::{Encryptor, LayerError, LayerKey, PlainReader};
use ocicrypt::media_type::{self, ENCRYPTED};
use ocicrypt::unwrap::Opened;
use zeroize::Zeroizing;

use crate::image::{
    Action, CHUNK, Copying, Decision, Exchange, Few, ImageError, Layers, Listed, Named, Note,
    Report, Work, unpacked,
};
use crate::keys::Keys;
use crate::recipient::{Options, Wanted, print_warnings};

/// The arguments of `keycell encrypt`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    copying: Copying,
    /// Who will be able to decrypt: `jwe:PUBLIC.pem`, `pkcs7:CERTIFICATE.pem`, `pgp:ADDRESS` (or a
    /// key ID, or a fingerprint), `pkcs11:PUBLIC.pem` (or a PKCS#11 key file), `provider:NAME[:PARAMETER]`
    #[arg(long = "recipient", short, value_name = "RECIPIENT", required = true)]
    recipients: Vec<String>,
    /// Private keys, a directory or a file: layers that are encrypted already get the recipients
    /// added, and their bytes stay as they are
    #[arg(long, value_name = "DIR|FILE")]
    keys: Vec<PathBuf>,
    /// Leave layers readable that cannot be encrypted and have this media type, or this number
    #[arg(long, value_name = "TYPE|NUMBER")]
    allow_unencrypted: Vec<String>,
    /// Encrypt blobs of this media type, such as models, although nothing but `keycell decrypt`
    /// decrypts them
    #[arg(long = "media-type", value_name = "TYPE")]
    media_types: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// Encrypts the chosen layers of an image.
pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { copying, recipients, keys, allow_unencrypted, media_types, options } =
        arguments;
    // Who is named twice is one recipient.
    let named_before = |index: usize| recipients[..index].contains(&recipients[index]);
    let once = (0..recipients.len()).filter(|index| !named_before(*index));
    let wanted = once.map(|index| &recipients[index]).map(|name| Wanted::parse(name, &options));
    let wanted = wanted.collect::<Result<Vec<_>>>()?;
    let keys = (!keys.is_empty()).then(|| Keys::read(&keys)).transpose()?;
    print_warnings(&wanted);
    copying.run(allow_unencrypted, Encryption { wanted, keys, media_types })
}

struct Encryption {
    wanted: Vec<Wanted>,
    keys: Option<Keys>,
    /// Media types that are encrypted although they are not those of layers.
    media_types: Vec<String>,
}

const FOR_OTHERS: &str = "encrypted already, and these recipients are not added";

/// What a layer needs.
enum Ready {
    /// It is encrypted, with this media type.
    Plain(String),
    /// It is encrypted already, and this is its key.
    Encrypted(Box<Opened>),
}

impl Exchange for Encryption {
    type Ready = Ready;

    fn decide(&mut self, layer: &Descriptor) -> Result<Decision<Ready>> {
        let media_type = layer.media_type();
        if media_type.ends_with(ENCRYPTED) {
            if annotation::wrapped_keys(&layer.annotations()).is_empty() {
                return Ok(Decision::Cannot(Some(NO_KEYS)));
            }
            return Ok(match &mut self.keys {
                None => Decision::Fails(ImageError::EncryptedAlready.into()),
                Some(keys) => Decision::Exchange(Ready::Encrypted(Box::new(keys.unwrap(layer)?))),
            });
        }
        let by_request = || {
            let wanted = self.media_types.iter().any(|wanted| wanted == media_type);
            wanted.then(|| format!("{media_type}{ENCRYPTED}"))
        };
        Ok(match media_type::encrypted(media_type).or_else(by_request) {
            Some(encrypted) => Decision::Exchange(Ready::Plain(encrypted)),
            None => Decision::Cannot(None),
        })
    }

    fn refuse(&self, layers: Few<Named>) -> ImageError {
        ImageError::CannotEncrypt(layers)
    }

    fn notes(&self, report: &mut Report) {
        for media_type in &self.media_types {
            let encrypted = format!("{media_type}{ENCRYPTED}");
            if report.layers.iter().any(|layer| layer.after.media_type() == encrypted) {
                let media_type = encrypted.escape_debug().to_string();
                report.notes.push(Note::NotUnpacked { media_type });
            }
        }
    }

    fn media_type(&self, layer: &Descriptor, ready: &Ready) -> String {
        match ready {
            Ready::Plain(media_type) => media_type.clone(),
            Ready::Encrypted(_) => layer.media_type().to_owned(),
        }
    }

    fn text(&self, report: &Report, is_done: bool) -> String {
        let recipients = Exchange::recipients(self).join(", ");
        let (encrypted, added) = match is_done {
            true => ("encrypted", "added to"),
            false => ("would encrypt", "would add to"),
        };
        let mut text = String::new();
        let count = report.count(Action::Replaced);
        if count > 0 {
            text += &format!("{encrypted} {} for {recipients}\n", Layers(count));
        }
        let count = report.count(Action::KeysChanged);
        if count > 0 {
            text += &format!("{added} {}: {recipients}\n", Layers(count));
        }
        text += &Listed(FOR_OTHERS, report.as_before()).to_string();
        text + &Listed("not encrypted", report.readable()).to_string()
    }

    fn recipients(&self) -> Vec<String> {
        self.wanted.iter().map(Wanted::to_string).collect()
    }

    fn exchange(&self, layer: &Descriptor, ready: &Ready, work: &Work<'_>) -> Result<Descriptor> {
        match ready {
            Ready::Plain(media_type) => self.encrypt(layer, media_type, work),
            Ready::Encrypted(opened) => self.add_recipients(layer, opened, work),
        }
    }
}

impl Encryption {
    fn encrypt(&self, layer: &Descriptor, media_type: &str, work: &Work<'_>) -> Result<Descriptor> {
        let mut plain = work.read(layer)?;
        let mut blob = work.write()?;
        let mut encryptor = Encryptor::new(&mut SysRng)?;
        let mut buffer = Zeroizing::new(vec![0; CHUNK]);
        loop {
            let length = plain.read(&mut buffer).map_err(unpacked)?;
            if length == 0 {
                break;
            }
            encryptor.update(&mut buffer[..length]);
            blob.write_all(&buffer[..length]).map_err(unpacked)?;
        }
        let key = encryptor.finish();
        ensure!(layer.digest() == key.digest().unwrap_or_default(), ImageError::Changed);
        let wrapped = encrypt::annotations(&key, &self.wrapped_for(&key)?, &mut SysRng)?;
        let kept = blob.keep()?;
        let layer = layer.without_encryption();
        let all: BTreeMap<_, _> = layer.annotations().into_iter().chain(wrapped).collect();
        let mut layer = layer.with_annotations(all);
        layer.media_type = Some(media_type.to_owned());
        kept.describe(&mut layer);
        Ok(layer)
    }

    /// The bytes stay as they are. Where they are read anyway, or the wrapped key does not prove that it is
    /// theirs, they are decrypted once: nobody could open a layer that is another one.
    fn add_recipients(
        &self,
        layer: &Descriptor,
        opened: &Opened,
        work: &Work<'_>,
    ) -> Result<Descriptor> {
        let key = &opened.key;
        if !opened.is_authenticated || !work.adopts(layer)? {
            let mut copy = work.write()?;
            let bytes = Copied { from: work.read(layer)?, to: &mut *copy };
            let mut plain = PlainReader::new(bytes, key);
            while plain.next_chunk().map_err(not_opened)?.is_some() {}
            ensure!(copy.keep()?.digest == layer.digest(), ImageError::Changed);
        }
        let existing = layer.annotations();
        let all = encrypt::add_recipients(&existing, key, &self.wrapped_for(key)?, &mut SysRng)?;
        Ok(layer.with_annotations(all))
    }

    fn wrapped_for(&self, key: &LayerKey) -> Result<Vec<encrypt::Recipient>> {
        let each = self.wanted.iter().map(|wanted| wanted.recipients(key));
        Ok(each.collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Bytes that are written somewhere while they are read.
struct Copied<'a, R> {
    from: R,
    to: &'a mut dyn NewBlob,
}

impl<R: io::Read> io::Read for Copied<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.to.write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// What fails is either the reading, or the layer is another one.
fn not_opened(error: LayerError) -> Error {
    match error {
        LayerError::Read(error) => unpacked(error),
        error => ImageError::NotOpened(error).into(),
    }
}

const NO_KEYS: &str = "which says that it is encrypted, without a wrapped key";
