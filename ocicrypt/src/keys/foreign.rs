//! Files that are no keys in a form that is read, but that people put among keys: each is named for what
//! it is, with the command that converts it.

/// What a file is that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Foreign {
    /// A Java keystore.
    #[error(
        "a Java keystore, which is not read: `keytool -importkeystore -srckeystore FILE -destkeystore \
         FILE.p12 -deststoretype PKCS12` and `openssl pkcs12 -in FILE.p12 -nodes -nocerts -out \
         FILE.pem` take the key out"
    )]
    JavaKeystore,
    /// PuTTY's own form.
    #[error(
        "a key of PuTTY, which is not read: `puttygen FILE -O private-openssh -o NEWFILE` writes one \
         that is"
    )]
    Putty,
    /// A key of age.
    #[error("a key of age, which opens no layer")]
    Age,
    /// A key or a signature of minisign.
    #[error("a key or a signature of minisign, which opens no layer")]
    Minisign,
    /// Gzip.
    #[error("compressed with gzip: `gunzip` unpacks it")]
    Gzip,
    /// Zip.
    #[error("a zip archive: `unzip` unpacks it")]
    Zip,
    /// HTML or XML.
    #[error("a web page or XML, not a key: was a login page saved in its place?")]
    Markup,
    /// An executable or library.
    #[error("a program or a library (ELF), not a key")]
    Elf,
    /// JSON or YAML without a key that is recognized.
    #[error(
        "JSON in which no key is recognized: put only the value of the key into the file, for instance \
         with `jq -r .data.private_key`"
    )]
    Json,
    /// A line of `authorized_keys`.
    #[error("a public key of OpenSSH, not a private one")]
    OpenSshPublic,
}

impl Foreign {
    /// What a file is, as far as its first bytes tell.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        const BEGINNINGS: [(&[u8], Foreign); 17] = [
            (&[0xfe, 0xed, 0xfe, 0xed], Foreign::JavaKeystore),
            (&[0xce, 0xce, 0xce, 0xce], Foreign::JavaKeystore),
            (b"PuTTY-User-Key-File-", Foreign::Putty),
            (b"AGE-SECRET-KEY-", Foreign::Age),
            (b"# created: ", Foreign::Age),
            (b"age-encryption.org/", Foreign::Age),
            (b"age1", Foreign::Age),
            (b"untrusted comment: ", Foreign::Minisign),
            (&[0x1f, 0x8b], Foreign::Gzip),
            (b"PK\x03\x04", Foreign::Zip),
            (b"\x7fELF", Foreign::Elf),
            (b"<", Foreign::Markup),
            (b"{", Foreign::Json),
            (b"ssh-", Foreign::OpenSshPublic),
            (b"ecdsa-sha2-", Foreign::OpenSshPublic),
            (b"sk-", Foreign::OpenSshPublic),
            (b"---- BEGIN SSH2 PUBLIC KEY ----", Foreign::OpenSshPublic),
        ];
        let text = bytes.trim_ascii_start();
        let found = BEGINNINGS.iter().find(|(beginning, _)| text.starts_with(beginning));
        found.map(|(_, foreign)| *foreign)
    }
}
