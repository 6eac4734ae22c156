//! What Go's implementation asks a provider, beside what Keycell asks it.
//!
//! Go's requests lie in `go/`, with the program that has recorded them: Debian's skopeo is built
//! with an ocicrypt that has no key providers yet.

use std::fs;

use keycell_broker::providers::TIMEOUT;
use serde_json::Value;

use crate::setup::{Place, parameters};
use crate::{Case, Need};

const WRAP: &[u8] = include_bytes!("go/wrap.json");
const UNWRAP: &[u8] = include_bytes!("go/unwrap.json");

pub const CASES: &[Case] = &[
    ("the request to unwrap is Go's, byte for byte", &[Need::Python], || {
        let place = Place::new();
        let providers = place.provider(&place.command("normal"));
        let annotation = within(UNWRAP, "/keyunwrapparams/annotation");
        let parameter = parameters(&["a parameter"]);
        let options = providers.unwrap("test", &annotation, &parameter, TIMEOUT).unwrap();
        assert_eq!(fs::read(place.path("request")).unwrap(), UNWRAP);
        assert_eq!(*options, within(WRAP, "/keywrapparams/optsdata"));
    }),
    ("the request to wrap is Go's, byte for byte", &[Need::Python], || {
        let place = Place::new();
        let providers = place.provider(&place.command("normal"));
        let options = within(WRAP, "/keywrapparams/optsdata");
        providers.wrap("test", &options, &[b"a recipient".to_vec()], TIMEOUT).unwrap();
        assert_eq!(fs::read(place.path("request")).unwrap(), WRAP);
    }),
];

/// The bytes at a place in a request.
fn within(request: &[u8], pointer: &str) -> Vec<u8> {
    use base64ct::Encoding as _;
    let request: Value = serde_json::from_slice(request).unwrap();
    let base64 = request.pointer(pointer).unwrap().as_str().unwrap();
    base64ct::Base64::decode_vec(base64).unwrap()
}
