//! Calls itself until there is no stack left.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, fixture, key_in};

struct Recurses;

impl Fixture for Recurses {
    fn unwrap(request: Request) -> Result<LayerKey, Failure> {
        fn deeper(depth: u64) -> u64 {
            let local = std::hint::black_box([depth; 64]);
            if depth == u64::MAX { 0 } else { deeper(depth + 1) + local[(depth % 64) as usize] }
        }
        let mut key = key_in(&request);
        key.nonce[0] = deeper(0) as u8;
        Ok(key)
    }
}

fixture!(Recurses);
