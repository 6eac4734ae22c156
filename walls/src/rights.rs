//! Who the process is, and what that allows: another user, capabilities, no new privileges.

use std::fmt;
use std::fs;

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::plain;

/// Where users are listed (passwd(5)). Name services are not asked: they load libraries.
const USERS: &str = "/etc/passwd";

/// A user to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// Reads `NAME`, a user of `/etc/passwd`, or `UID`, or `UID:GID`. The group is the user's own;
    /// of a number without one, the same number.
    ///
    /// # Errors
    /// What is wrong with it: the end of a sentence that begins with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let users = fs::read_to_string(USERS);
        let users = users.map_err(|error| format!("`{USERS}` cannot be read: {}", plain(error)));
        Self::among(text, users)
    }

    fn among(text: &str, users: Result<String, String>) -> Result<Self, String> {
        let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
        if let Ok(uid) = number(user) {
            let gid = group.map_or(Ok(uid), number)?;
            return Ok(Self { name: text.to_owned(), uid, gid });
        }
        if group.is_some() {
            return Err("it is neither a name nor `UID:GID`".to_owned());
        }
        for line in users?.lines() {
            let fields: Vec<_> = line.split(':').collect();
            if let [name, _, uid, gid, ..] = fields[..]
                && name == user
            {
                let (uid, gid) = (number(uid)?, number(gid)?);
                return Ok(Self { name: text.to_owned(), uid, gid });
            }
        }
        Err(format!("there is no such user in `{USERS}`"))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}:{})", self.name, self.uid, self.gid)
    }
}

/// `u32::MAX` means "leave it" to the kernel.
fn number(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.ok_or_else(|| format!("`{text}` is no number of a user or group"))
}

/// Neither this process nor what it starts gets more rights from a file that it runs (setuid, file
/// capabilities).
///
/// # Errors
/// Where the kernel is older than Linux 3.5.
pub fn no_new_privileges() -> Result<String, String> {
    rustix::thread::set_no_new_privs(true).map_err(plain)?;
    Ok("no program that is run gives more".to_owned())
}

/// Becomes `user`, without other groups, and keeps what capabilities there are: the next step is
/// [`keep`].
///
/// # Errors
/// Why not. Nothing has changed then, or some of it: the process must not go on.
pub fn become_user(user: &User) -> Result<(), String> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_keep_capabilities(true).map_err(plain)?;
    // A process that already is this user may still be in other groups, which only root can change.
    let groups = rustix::process::getgroups().map_err(plain)?;
    if groups.iter().any(|group| *group != gid) {
        rustix::thread::set_thread_groups(&[]).map_err(plain)?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(plain)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(plain)
}

/// Keeps those of `wanted` that the process has, and gives up all others. Returns what is left.
///
/// # Errors
/// Where the kernel refuses it.
pub fn keep(wanted: CapabilitySet) -> Result<String, String> {
    let kept = match wanted {
        none if none.is_empty() => none,
        some => rustix::thread::capabilities(None).map_err(plain)?.permitted & some,
    };
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(plain)?;
    let names: Vec<_> = kept.iter_names().map(|(name, _)| format!("`CAP_{name}`")).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/sbin/nologin\n";

    fn found(text: &str) -> Option<(u32, u32)> {
        User::among(text, Ok(LISTED.to_owned())).ok().map(|user| (user.uid, user.gid))
    }

    #[test]
    fn a_user_is_a_name_or_numbers() {
        assert_eq!(found("nobody"), Some((65534, 65533)));
        assert_eq!(found("1000"), Some((1000, 1000)));
        assert_eq!(found("1000:7"), Some((1000, 7)));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "nobody2", "nobod", "1000:", ":7", "nobody:7", "-1", "4294967295", "x:y"] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
