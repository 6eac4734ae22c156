//! The keys directory, as far as the host grants it.

use std::io;
use std::path::Path;

use keycell_keys_directory::{GrantedDirectory, PassedOver, walk};
use ocicrypt::keyring::KeyRing;

/// What the guest calls the directory, wherever it lies.
const NAME: &str = "/keys";

/// Adds every key below `directory` to `ring`, in the order of their names. The ring keeps the reason
/// for each file that is not a key or cannot be read; a directory that is missing holds no keys.
pub fn add_directory(ring: &mut KeyRing, directory: &Path) {
    let walked = walk(&GrantedDirectory::new(directory), NAME, |name, found| match found {
        Ok(content) => ring.add_file(name, &content),
        Err(why) => ring.skip(name, &why.to_string()),
    });
    match walked {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            ring.skip(NAME, &PassedOver::Unreadable(error).to_string());
        }
        _ => {}
    }
}
