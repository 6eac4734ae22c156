//! The user of the process, and its rights: another user, Linux capabilities, no new privileges.

use std::fmt;
use std::fs;
use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use keycell_diagnostic::os_error;

use crate::error::{Error, failed};
use crate::wall::Extent;

/// The list of users (passwd(5)). Name services are not asked, because they load libraries.
const USERS: &str = "/etc/passwd";

/// A user to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// Reads `NAME`, a user of `/etc/passwd`, or `UID`, or `UID:GID`. The group is the user's own; for
    /// a `UID` without a group, it has the same number.
    ///
    /// # Errors
    /// The text names no user.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        Self::among(text, fs::read_to_string(USERS).map_err(UserError::Unreadable))
    }

    /// The number of the user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    fn among(text: &str, users: Result<String, UserError>) -> Result<Self, UserError> {
        let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
        if let Ok(uid) = number(user) {
            let gid = group.map_or(Ok(uid), number)?;
            return Ok(Self { name: text.to_owned(), uid, gid });
        }
        if group.is_some() {
            return Err(UserError::Form);
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
        Err(UserError::Unknown)
    }
}

/// Why a text names no user: the end of a sentence that begins with the text.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The list of users cannot be read.
    #[error("`{USERS}` cannot be read: {}", os_error(.0))]
    Unreadable(io::Error),
    /// The text has the wrong form.
    #[error("it is neither a name nor `UID:GID`")]
    Form,
    /// The list has no such name.
    #[error("there is no such user in `{USERS}`")]
    Unknown,
    /// A part that should be a number is not one.
    #[error("`{0}` is no number of a user or group")]
    Number(String),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}:{})", self.name, self.uid, self.gid)
    }
}

/// Parses an id. `u32::MAX` is not allowed, because the kernel takes it for "leave it unchanged".
fn number(text: &str) -> Result<u32, UserError> {
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.ok_or_else(|| UserError::Number(text.to_owned()))
}

/// Keeps this process, and those that it starts, from gaining rights through a file that they run
/// (setuid, file capabilities).
///
/// # Errors
/// The kernel is older than Linux 3.5.
pub fn no_new_privileges() -> Result<Extent, Error> {
    rustix::thread::set_no_new_privs(true).map_err(failed("prctl"))?;
    Ok(Extent::NoNewPrivileges)
}

/// Becomes `user`, without other groups, and keeps the current Linux capabilities: the next step is
/// [`keep`].
///
/// # Errors
/// Why it failed. Some changes may already have been made, so the process must not go on.
pub fn become_user(user: &User) -> Result<(), Error> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_keep_capabilities(true).map_err(failed("prctl"))?;
    // A process that already runs as this user may still have other groups, which only root can change.
    let groups = rustix::process::getgroups().map_err(failed("getgroups"))?;
    if groups.iter().any(|group| *group != gid) {
        rustix::thread::set_thread_groups(&[]).map_err(failed("setgroups"))?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("setresuid"))
}

/// Keeps the Linux capabilities of `wanted` that the process has, and gives up all others. Returns what
/// is left.
///
/// # Errors
/// The kernel refuses it.
pub fn keep(wanted: CapabilitySet) -> Result<Extent, Error> {
    let kept = match wanted {
        none if none.is_empty() => none,
        some => rustix::thread::capabilities(None).map_err(failed("capget"))?.permitted & some,
    };
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(failed("capset"))?;
    Ok(Extent::Capabilities(kept))
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
