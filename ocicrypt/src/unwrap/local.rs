//! The schemes whose private keys are in the ring, one beside the other: a key is opened for all of
//! them, and none before it is needed.

use rsa::rand_core::TryCryptoRng;

use super::{Found, SchemeFailure, jwe, pgp, pkcs7};
use crate::annotation::{Scheme, WrappedKeys};
use crate::bounds::Bounds;
use crate::keyring::{KeyRing, NamedKey};
use crate::options::PublicOptions;
use crate::pgp::Locked;

/// The wrapped keys of one scheme, and what came of them so far.
enum Local<'a> {
    Jwe(jwe::Search<'a>),
    Pkcs7(pkcs7::Search<'a>),
    Pgp(pgp::Search<'a>),
}

/// The schemes of a layer.
pub(super) struct Searches<'a> {
    searches: Vec<(&'a Scheme, Local<'a>)>,
    ring: &'a KeyRing,
}

impl<'a> Searches<'a> {
    pub(super) fn new(
        schemes: &'a [WrappedKeys],
        public: &'a PublicOptions,
        ring: &'a KeyRing,
    ) -> Self {
        let searches = schemes.iter();
        let searches =
            searches.filter_map(|keys| Some((&keys.scheme, Local::new(keys, public, ring)?)));
        Self { searches: searches.collect(), ring }
    }

    /// Tries the keys that are open on the wrapped keys of all schemes. Only then are those that are
    /// closed opened, one after the other, and each is tried at once.
    pub(super) fn open<R: TryCryptoRng + ?Sized>(
        &mut self,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<(&'a Scheme, Found)> {
        let ready: Vec<_> = self.ring.ready().collect();
        for (scheme, search) in &mut self.searches {
            if let Some(found) = search.try_first(&ready, bounds, rng) {
                return Some((*scheme, found));
            }
        }
        for (scheme, search) in &mut self.searches {
            if let Local::Pgp(search) = search
                && let Some(found) = search.with(Locked::Yes, bounds, rng)
            {
                return Some((*scheme, found));
            }
        }
        let mut is_complete = true;
        for place in self.ring.closed() {
            if !self.searches.iter().any(|(_, search)| search.goes_on()) {
                break;
            }
            let key = match self.ring.open(place, &mut bounds.budget) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(_) => {
                    is_complete = false;
                    continue; // another may cost less
                }
            };
            for (scheme, search) in &mut self.searches {
                if let Some(found) = search.try_next(key, bounds, rng) {
                    return Some((*scheme, found));
                }
            }
        }
        if !is_complete {
            self.searches.iter_mut().for_each(|(_, search)| search.gives_up());
        }
        None
    }

    /// Tries what nothing authenticates, when nothing else has opened.
    pub(super) fn open_unauthenticated<R: TryCryptoRng + ?Sized>(
        &mut self,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<(&'a Scheme, Found)> {
        self.searches.iter_mut().find_map(|(scheme, search)| match search {
            Local::Pkcs7(search) => Some((*scheme, search.open_unauthenticated(bounds, rng)?)),
            _ => None,
        })
    }

    /// What was tried, for each scheme.
    pub(super) fn failures(self) -> Vec<SchemeFailure> {
        let ring = self.ring;
        self.searches.into_iter().map(|(_, search)| search.failure(ring)).collect()
    }
}

impl<'a> Local<'a> {
    /// None for a scheme whose keys are elsewhere.
    fn new(keys: &'a WrappedKeys, public: &'a PublicOptions, ring: &'a KeyRing) -> Option<Self> {
        match keys.scheme {
            Scheme::Jwe => Some(Self::Jwe(jwe::Search::new(keys, public))),
            Scheme::Pkcs7 => Some(Self::Pkcs7(pkcs7::Search::new(keys, public, ring))),
            Scheme::Pgp => Some(Self::Pgp(pgp::Search::new(keys, public, ring))),
            Scheme::Pkcs11 | Scheme::Provider(_) => None,
        }
    }

    /// Tries the keys that are open.
    fn try_first<R: TryCryptoRng + ?Sized>(
        &mut self,
        keys: &[&'a NamedKey],
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Found> {
        match self {
            Self::Jwe(search) => search.with(keys, bounds, rng),
            Self::Pkcs7(search) => search.with_all(bounds, rng),
            Self::Pgp(search) => search.with(Locked::No, bounds, rng),
        }
    }

    /// Tries a key that has just been opened.
    fn try_next<R: TryCryptoRng + ?Sized>(
        &mut self,
        key: &'a NamedKey,
        bounds: &mut Bounds,
        rng: &mut R,
    ) -> Option<Found> {
        match self {
            Self::Jwe(search) => search.with(&[key], bounds, rng),
            Self::Pkcs7(search) => search.with_next(key, bounds, rng),
            Self::Pgp(_) => None, // it unlocks its keys by itself
        }
    }

    /// Whether another key could help.
    fn goes_on(&self) -> bool {
        match self {
            Self::Jwe(search) => search.goes_on(),
            Self::Pkcs7(search) => search.goes_on(),
            Self::Pgp(_) => false,
        }
    }

    /// The budget does not suffice to open the next key.
    fn gives_up(&mut self) {
        match self {
            Self::Jwe(search) => search.gives_up(),
            Self::Pkcs7(search) => search.gives_up(),
            Self::Pgp(_) => {}
        }
    }

    fn failure(self, ring: &KeyRing) -> SchemeFailure {
        match self {
            Self::Jwe(search) => search.failure(ring),
            Self::Pkcs7(search) => search.failure(ring),
            Self::Pgp(search) => search.failure(),
        }
    }
}
