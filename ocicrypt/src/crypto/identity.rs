//! Identities of attempts, so that nothing is computed twice.

use sha2::{Digest, Sha256};

/// The identity of a wrapped key: the hash of the parts that `feed` passes, each with its length.
pub(crate) fn id(feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 32] {
    let mut hash = Sha256::new();
    feed(&mut |part| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    });
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn parts_do_not_run_into_each_other() {
        let id = |parts: &[&[u8]]| super::id(|hash| parts.iter().for_each(|part| hash(part)));
        assert_ne!(id(&[b"ab", b"c"]), id(&[b"a", b"bc"]));
    }
}
