//! What a sealed credential of systemd is sealed with, as the beginning of its file says. Nothing is
//! decrypted.

use std::fmt;

use base64ct::{Base64, Encoding};

/// What the first bytes of a credential say. The number of a kind is in systemd's `creds-util.h`.
const KINDS: [(u128, Keys); 9] = [
    (0x5a1c_6a86_df9d_4096_b1d5_a65e_0862_f19a, Keys::Host),
    (0x55b9_ed1d_3859_4d43_a831_9d2e_bb33_2ac6, Keys::Host),
    (0x0c7c_c07b_1176_4591_9c4b_0bea_08bc_20fe, Keys::Tpm),
    (0xfaf7_eb93_41e3_412c_a1a4_36f9_5a29_362f, Keys::Tpm),
    (0x93a8_9409_4874_4490_90ca_f2fc_93ca_b553, Keys::HostAndTpm),
    (0xef4a_c136_79a9_480e_a7db_6889_7f9f_165d, Keys::HostAndTpm),
    (0xaf49_50a8_4913_4eb1_a738_4630_4ff3_0c05, Keys::HostAndTpm),
    (0xadbc_4ca3_efb6_4201_ba88_1b6f_2e40_95ea, Keys::HostAndTpm),
    (0x0584_69da_f6f5_4324_8005_49da_0f8e_a2fb, Keys::Nothing),
];

/// Bytes of the header that are looked at, a multiple of 3: base64 of them has no padding.
const HEADER: usize = 60;

/// The characters of base64 for so many bytes.
const CHARACTERS: usize = HEADER / 3 * 4;

/// What is needed to open a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The host key, a file on the disk.
    Host,
    /// The TPM.
    Tpm,
    /// Both.
    HostAndTpm,
    /// A key of no bytes, which everybody knows.
    Nothing,
    /// A kind that systemd got after this program.
    Unknown,
}

/// How a credential is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// What opens it.
    pub keys: Keys,
    /// The registers of the TPM that must be as they were.
    pub registers: Vec<u32>,
}

impl Sealing {
    /// Reads the beginning of a file. None if it is no sealed credential.
    pub fn of(text: &[u8]) -> Option<Self> {
        let characters = text.iter().filter(|byte| !byte.is_ascii_whitespace()).take(CHARACTERS);
        let characters: Vec<u8> = characters.copied().collect();
        let mut buffer = [0; HEADER];
        let header = Base64::decode(&characters, &mut buffer).ok()?;
        if header.len() < HEADER {
            return None;
        }
        let number = u128::from_be_bytes(header[..16].try_into().ok()?);
        let word = |at: usize| Some(u32::from_le_bytes(header[at..at + 4].try_into().ok()?));
        // The length of the key, of a block, of the nonce and of the tag of AES-256-GCM.
        if (word(16)?, word(20)?, word(24)?, word(28)?) != (32, 1, 12, 16) {
            return None;
        }
        let known = KINDS.iter().find(|(kind, _)| *kind == number);
        let keys = known.map_or(Keys::Unknown, |(_, keys)| *keys);
        // Behind the nonce, at a multiple of 8, is the header of the TPM.
        let mask = match keys {
            Keys::Tpm | Keys::HostAndTpm => word(48)?,
            Keys::Host | Keys::Nothing | Keys::Unknown => 0,
        };
        let registers = (0..u32::BITS).filter(|bit| mask & (1 << bit) != 0).collect();
        Some(Self { keys, registers })
    }
}

impl fmt::Display for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.keys {
            Keys::Host => "sealed with the host key",
            Keys::Tpm => "sealed with the TPM",
            Keys::HostAndTpm => "sealed with the host key and the TPM",
            Keys::Nothing => "sealed with an empty key",
            Keys::Unknown => "sealed in a way that this release does not know",
        })?;
        let registers: Vec<String> = self.registers.iter().map(u32::to_string).collect();
        match registers.is_empty() {
            true => Ok(()),
            false => write!(f, " (PCR {})", registers.join("+")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginnings of what `systemd-creds encrypt` of systemd 252 wrote.
    const HOST: &str = "Whxqht+dQJax1aZeCGLxmiAAAAABAAAADAAAABAAAACbPPv44Es46a4DAIsAAAAA\nPkp9J62E6CE5TnNkVrw7CfTcBMVP6lqwDY4wRnbNer0=";
    const TPM: [u8; 64] = [
        0x0c, 0x7c, 0xc0, 0x7b, 0x11, 0x76, 0x45, 0x91, 0x9c, 0x4b, 0x0b, 0xea, 0x08, 0xbc, 0x20,
        0xfe, 0x20, 0, 0, 0, 1, 0, 0, 0, 0x0c, 0, 0, 0, 0x10, 0, 0, 0, 0x8c, 0xdd, 0xab, 0x21,
        0xff, 0x1a, 0xe0, 0xe0, 0x5d, 0xef, 0x96, 0xc5, 0, 0, 0, 0, 0x80, 0x08, 0, 0, 0, 0, 0, 0,
        0x0b, 0, 0x23, 0, 0xf0, 0, 0, 0,
    ];

    fn tpm(change: impl Fn(&mut [u8; 64])) -> String {
        let mut bytes = TPM;
        change(&mut bytes);
        Base64::encode_string(&bytes)
    }

    #[test]
    fn what_opens_a_credential_is_told() {
        let said = |text: &str| Sealing::of(text.as_bytes()).map(|it| it.to_string());
        assert_eq!(said(HOST).as_deref(), Some("sealed with the host key"));
        assert_eq!(said(&tpm(|_| {})).as_deref(), Some("sealed with the TPM (PCR 7+11)"));
        let free = tpm(|bytes| bytes[48..50].fill(0));
        assert_eq!(said(&free).as_deref(), Some("sealed with the TPM"));
        let none = tpm(|bytes| bytes[..16].copy_from_slice(&KINDS[8].0.to_be_bytes()));
        assert_eq!(said(&none).as_deref(), Some("sealed with an empty key"));
        let other = tpm(|bytes| bytes[0] ^= 1);
        let other = said(&other).unwrap_or_default();
        assert!(other.contains("does not know"), "{other}");
    }

    #[test]
    fn other_files_are_no_credentials() {
        let short = tpm(|_| {})[..40].to_owned();
        let key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n";
        let other = tpm(|bytes| bytes[24] = 16);
        let zeros = "A".repeat(100);
        for text in ["", "=", &short, key, &other, &zeros] {
            assert_eq!(Sealing::of(text.as_bytes()), None, "{text}");
        }
    }
}
