//! Answers the challenges of a registry, and remembers the answers.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::answer::Answer;
use super::challenge::{self, Challenge};
use super::credentials::{self, Identity};
use super::error::{Malformation, RegistryError};
use super::http::Http;
use super::reference::Repository;
use super::secret::Secret;
use super::token::{self, Token};
use super::url::Url;

/// Answers challenges for one repository.
pub struct Authenticator {
    repository: Repository,
    file: Option<PathBuf>,
    identity: OnceLock<Option<Identity>>,
    learned: Mutex<Vec<Learned>>,
}

/// An answer that the registry accepted.
struct Learned {
    /// What it is for, or everything.
    scopes: Option<Vec<String>>,
    header: Secret,
    until: Option<Instant>,
}

impl Authenticator {
    /// Signs in as `login`, or else as a file of credentials says.
    pub fn new(repository: &Repository, login: Option<Identity>, file: Option<PathBuf>) -> Self {
        let identity = OnceLock::new();
        if login.is_some() {
            // The cell is empty.
            let _ = identity.set(login);
        }
        Self { repository: repository.clone(), file, identity, learned: Mutex::default() }
    }

    /// The header that a request with these scopes is sent with, as far as it is known.
    pub fn header(&self, scopes: &[String]) -> Option<Secret> {
        let now = Instant::now();
        let mut learned = self.learned();
        learned.retain(|it| it.until.is_none_or(|until| until > now));
        let fits = |it: &&Learned| it.scopes.as_ref().is_none_or(|its| its == scopes);
        learned.iter().find(fits).map(|it| it.header.clone())
    }

    /// Answers the challenge in an answer to a request that was sent with `used`.
    ///
    /// # Errors
    /// No credentials, or a token server that does not accept them.
    pub fn answer(
        &self,
        http: &Http,
        registry: &Url,
        answer: Answer,
        scopes: &[String],
        used: Option<&Secret>,
    ) -> Result<(), RegistryError> {
        self.learned().retain(|it| Some(&it.header) != used);
        if self.header(scopes).is_some() {
            // Another thread has answered the challenge in the meantime.
            return Ok(());
        }
        let Some(challenge) = challenge::choose(answer.challenges()) else {
            return Err(answer.malformed(Malformation::Header("WWW-Authenticate")));
        };
        let identity = self.identity()?;
        let learned = match (&challenge, identity) {
            (Challenge::Bearer(bearer), identity) => {
                let repository = &self.repository;
                let Token { header, until } =
                    token::fetch(http, registry, repository, bearer, scopes, identity)?;
                Learned { scopes: Some(scopes.to_owned()), header, until: Some(until) }
            }
            (Challenge::Basic, Some(Identity::Password { username, password })) => {
                let header = token::basic(username, password);
                Learned { scopes: None, header, until: None }
            }
            (Challenge::Basic, _) => return Err(self.refused(answer)),
        };
        self.learned().push(learned);
        Ok(())
    }

    /// The error that a refusal is although the challenge was answered just before.
    pub fn refused(&self, answer: Answer) -> RegistryError {
        let host = answer.url().authority().to_owned();
        let repository = self.repository.to_string();
        let signed_in = self.identity.get().is_some_and(Option::is_some);
        let is_basic = challenge::choose(answer.challenges()) == Some(Challenge::Basic);
        let saying = answer.saying();
        match (signed_in, is_basic) {
            (false, _) => RegistryError::SignIn { host, repository, saying },
            (true, true) => {
                let registry = self.repository.host.clone();
                RegistryError::WrongCredentials { host, registry, saying }
            }
            (true, false) => RegistryError::Denied { host, repository, saying },
        }
    }

    fn identity(&self) -> Result<Option<&Identity>, RegistryError> {
        if self.identity.get().is_none() {
            let found = credentials::find(&self.repository, self.file.as_deref())?;
            // Another thread may have been faster, with the same result.
            let _ = self.identity.set(found);
        }
        Ok(self.identity.get().and_then(Option::as_ref))
    }

    fn learned(&self) -> MutexGuard<'_, Vec<Learned>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
