//! What cases share, each made by the first case that asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use keycell_tests::decoder::Decoder;
use keycell_tests::gpg::Gpg;
use keycell_tests::image::{Image, LayerKind};
use keycell_tests::keys::{KeyKind, KeyPair};
use keycell_tests::memo::Memo;
use keycell_tests::payload::Payload;
use keycell_tests::sealed::Sealed;
use tempfile::TempDir;

use crate::gnupg::PARAMETERS;
use crate::jwcrypto::Written;

/// Names and contents of files in a keys directory.
pub(crate) type Files = Vec<(&'static str, Vec<u8>)>;

/// A layer, and everything around it.
pub(crate) struct Fixture {
    /// The layer whose key is wrapped. Images have layers of their own.
    pub(crate) sealed: Sealed,
    pub(crate) images: Memo<String, Image>,
    /// Messages and key files that more than one case reads.
    pub(crate) files: Memo<String, Vec<u8>>,
    pub(crate) written: Memo<(), Written>,
    dir: TempDir,
    keys: Memo<String, KeyPair>,
    certificates: Memo<String, PathBuf>,
    gpg: Memo<(), Gpg>,
}

impl Default for Fixture {
    fn default() -> Self {
        Self {
            sealed: Sealed::of_length(200_000),
            images: Memo::default(),
            files: Memo::default(),
            written: Memo::default(),
            dir: TempDir::with_prefix("keycell-matrix-").expect("a directory can be made"),
            keys: Memo::default(),
            certificates: Memo::default(),
            gpg: Memo::default(),
        }
    }
}

impl Fixture {
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn key(&self, kind: KeyKind) -> Result<Arc<KeyPair>> {
        self.named_key(&kind.to_string(), kind)
    }

    /// Another key than those of nodes.
    pub(crate) fn stranger(&self, kind: KeyKind) -> Result<Arc<KeyPair>> {
        self.named_key(&format!("stranger-{kind}"), kind)
    }

    fn named_key(&self, name: &str, kind: KeyKind) -> Result<Arc<KeyPair>> {
        let make = || KeyPair::generate(self.dir(), name, kind);
        self.keys.get_or_make(name.to_owned(), make)
    }

    /// The certificate of [`Fixture::key`].
    pub(crate) fn certificate(&self, kind: KeyKind) -> Result<Arc<PathBuf>> {
        let key = self.key(kind)?;
        let make = || key.certify(&format!("/O=Keycell/CN={kind}"), &[]);
        self.certificates.get_or_make(kind.to_string(), make)
    }

    /// Keys of every kind that GnuPG has, named after their kinds.
    pub(crate) fn gpg(&self) -> Result<Arc<Gpg>> {
        self.gpg.get_or_make((), || {
            let gpg = Gpg::new()?;
            PARAMETERS.iter().try_for_each(|keys| gpg.generate_all(keys))?;
            Ok(gpg)
        })
    }

    /// A file with what is wrapped: the private options of the layer.
    pub(crate) fn options(&self) -> Result<PathBuf> {
        let path = self.dir().join("options.json");
        let make = || {
            let options = self.sealed.private.to_string().into_bytes();
            fs::write(&path, &options)?;
            Ok(options)
        };
        self.files.get_or_make("options".into(), make)?;
        Ok(path)
    }

    /// An image whose layers are of this kind, before it is encrypted.
    pub(crate) fn plain(&self, kind: LayerKind) -> Result<Arc<Image>> {
        self.images.get_or_make(format!("plain-{kind}"), || match kind {
            LayerKind::Gzip => Image::busybox(self.dir()),
            _ => self.plain(LayerKind::Gzip)?.repacked(self.dir(), kind),
        })
    }

    /// The layer is decrypted, when this scheme has these items as wrapped keys and the keys directory
    /// has these files.
    pub(crate) fn opens<I: AsRef<[u8]>>(
        &self,
        scheme: &str,
        items: &[I],
        files: &[(&str, Vec<u8>)],
    ) -> Result<()> {
        self.opens_with(&self.sealed.payload_with(scheme, items), files)
    }

    /// This payload decrypts the layer.
    pub(crate) fn opens_with(&self, payload: &Payload, files: &[(&str, Vec<u8>)]) -> Result<()> {
        let keys = directory(files)?;
        let media_type = format!("{}+encrypted", LayerKind::Tar.media_type());
        let decoder = Decoder::new()?.keys(keys.path()).media_type(&media_type);
        let decoder = decoder.layer(self.sealed.encrypted.clone()).payload(payload.bytes());
        decoder.run()?.is_silent_success(&self.sealed.plain)
    }
}

/// A keys directory with these files.
pub(crate) fn directory(files: &[(&str, Vec<u8>)]) -> Result<TempDir> {
    let keys = TempDir::new()?;
    for (name, content) in files {
        fs::write(keys.path().join(name), content)?;
    }
    Ok(keys)
}
