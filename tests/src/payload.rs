//! What containerd writes to descriptor 3: a protobuf `Any` that holds JSON.

use base64ct::{Base64, Encoding};
use prost::Message;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::image::Descriptor;

/// The type that the payload must carry, exactly.
pub const TYPE_URL: &str = "io.containerd.ocicrypt.v1.Payload";

/// Builds the bytes for descriptor 3.
#[derive(Clone, Debug)]
pub struct Payload {
    type_url: String,
    parameters: Value,
    descriptor: Descriptor,
}

impl Payload {
    /// What a CRI pull sends: the layer's descriptor, and `"Parameters":null`.
    pub fn new(layer: &Descriptor) -> Self {
        Self { type_url: TYPE_URL.into(), parameters: Value::Null, descriptor: layer.clone() }
    }

    /// `"Parameters":{}`, as `ctr-enc --skip-decrypt-auth` sends it.
    pub fn empty_parameters(mut self) -> Self {
        self.parameters = Value::Object(Map::new());
        self
    }

    /// Adds one value to a parameter; `None` is a JSON null inside the array.
    pub fn parameter(mut self, name: &str, value: Option<&[u8]>) -> Self {
        if !self.parameters.is_object() {
            self = self.empty_parameters();
        }
        let value = value.map_or(Value::Null, |bytes| Base64::encode_string(bytes).into());
        if let Value::Object(parameters) = &mut self.parameters {
            let entry = parameters.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(values) = entry {
                values.push(value);
            }
        }
        self
    }

    /// A key without a password, as `ctr-enc --key` sends it.
    pub fn private_key(self, key: &[u8]) -> Self {
        self.parameter("privkeys", Some(key)).parameter("privkeys-passwords", None)
    }

    /// Another type than the one that is expected.
    pub fn type_url(mut self, type_url: &str) -> Self {
        self.type_url = type_url.into();
        self
    }

    /// Replaces one of the layer's annotations.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.descriptor.annotations.insert(name.into(), value.into());
        self
    }

    /// The JSON alone.
    pub fn json(&self) -> Vec<u8> {
        // Go writes members in the order of its structs, and so does this.
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Document<'a> {
            decrypt_config: Config<'a>,
            descriptor: &'a Descriptor,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Config<'a> {
            parameters: &'a Value,
        }
        let document = Document {
            decrypt_config: Config { parameters: &self.parameters },
            descriptor: &self.descriptor,
        };
        serde_json::to_vec(&document).expect("strings and maps with string keys always serialize")
    }

    /// The bytes for descriptor 3.
    pub fn bytes(&self) -> Vec<u8> {
        any(&self.type_url, self.json())
    }
}

/// A protobuf `Any` of any type and content.
pub fn any(type_url: &str, value: Vec<u8>) -> Vec<u8> {
    #[derive(Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    Any { type_url: type_url.into(), value }.encode_to_vec()
}
