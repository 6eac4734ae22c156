//! Files that are replaced while they are read.

use std::io;

/// Repetitions of an operation. When a mounted Secret changes, the kubelet changes the target of
/// `..data` to another directory and removes the old one. A reader that has resolved the old target
/// finds neither file; the next attempt finds the new one.
const ATTEMPTS: usize = 16;

/// Runs `operation`, and repeats it up to 16 times while its target is not found although `exists`
/// says that the name is there.
///
/// # Errors
/// The error of the last attempt.
pub fn retry_while_replaced<T>(
    exists: impl Fn() -> bool,
    mut operation: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut result = operation();
    for _ in 0..ATTEMPTS {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound && exists() => {
                result = operation();
            }
            _ => break,
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of an operation that succeeds at one attempt, and the attempts that it took.
    fn attempts(succeeds_at: usize, exists: bool, kind: io::ErrorKind) -> (bool, usize) {
        let mut attempts = 0;
        let result = retry_while_replaced(
            || exists,
            || {
                attempts += 1;
                if attempts == succeeds_at { Ok(()) } else { Err(kind.into()) }
            },
        );
        (result.is_ok(), attempts)
    }

    #[test]
    fn what_is_replaced_is_read_again() {
        assert_eq!(attempts(3, true, io::ErrorKind::NotFound), (true, 3));
    }

    #[test]
    fn the_attempts_are_limited() {
        assert_eq!(attempts(1000, true, io::ErrorKind::NotFound), (false, 1 + ATTEMPTS));
    }

    #[test]
    fn what_is_missing_or_forbidden_is_not_read_again() {
        assert_eq!(attempts(2, false, io::ErrorKind::NotFound), (false, 1));
        assert_eq!(attempts(2, true, io::ErrorKind::PermissionDenied), (false, 1));
    }
}
