//! Providers behind ttrpc: the crate that the Rust ocicrypt's are built with, containerd's Go, and
//! sockets that do something else.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use keycell_broker::providers::TIMEOUT;
use prost::Message as _;
use serde_json::{Value, json};
use ttrpc::{Code, MethodHandler, Request, Response, Server, TtrpcContext, get_status};

use crate::setup::{OPTIONS, Place, SOON, message, parameters, refused};
use crate::{Case, Need};

pub const CASES: &[Case] = &[
    ("the right key", &[], || {
        let place = Place::new();
        let server = Serving::at(&place, Mode::Normal);
        let providers = place.provider(&json!({"ttrpc": server.address, "grpc-tls": {}}));
        let unwrapped = providers.unwrap("test", OPTIONS, &parameters(&["b"]), TIMEOUT).unwrap();
        assert_eq!(*unwrapped, OPTIONS);
        let asked = server.asked();
        assert_eq!(asked.method, "UnWrapKey");
        assert_eq!(asked.timeout, i64::try_from(TIMEOUT.as_nanos()).unwrap());
        let json = json!({
            "op": "keyunwrap",
            "keywrapparams": {"ec": null, "optsdata": null},
            "keyunwrapparams": {
                "dc": {"Parameters": {"test": ["Yg=="]}},
                "annotation": encoded(OPTIONS),
            },
        });
        assert_eq!(asked.json, json);
    }),
    ("it wraps", &[], || {
        let place = Place::new();
        let server = Serving::at(&place, Mode::Normal);
        let providers = place.provider(&json!({"ttrpc": server.address}));
        let wrapped = providers.wrap("test", OPTIONS, &[b"a".to_vec()], TIMEOUT).unwrap();
        assert_eq!(wrapped, OPTIONS);
        assert_eq!(server.asked().method, "WrapKey");
        assert_eq!(
            server.asked().json["keywrapparams"]["ec"]["Parameters"],
            json!({"test": ["YQ=="]})
        );
    }),
    ("it refuses", &[], || {
        let text = of(Mode::Refusal, TIMEOUT);
        assert_eq!(text, "`ADDRESS` failed with NotFound: no such key [2J hint: forged");
    }),
    ("it knows no such service", &[], || {
        let text = of(Mode::NoService, TIMEOUT);
        assert!(text.starts_with("`ADDRESS` failed with "), "{text}");
    }),
    ("it hangs", &[], || {
        assert_eq!(of(Mode::Hang, SOON), "`ADDRESS` did not answer within 1 second");
    }),
    ("garbage", &[], || {
        let text = of(Mode::Answer(b"SECRET and no JSON"), TIMEOUT);
        assert_eq!(text, "`ADDRESS` answered something that is not JSON, see its line 1, column 1");
    }),
    ("an empty object", &[], || {
        assert_eq!(
            of(Mode::Answer(b"{}"), TIMEOUT),
            "`ADDRESS` answered without a key: `keyunwrapresults.optsdata` is missing or empty"
        );
    }),
    ("a flood", &[], || {
        assert_eq!(
            of(Mode::Answer(&[b' '; 2 << 20]), TIMEOUT),
            "`ADDRESS` answered more than 1 MiB"
        );
    }),
    ("a socket that is silent", &[], || {
        let text = raw(SOON, |_| thread::sleep(Duration::from_secs(3)));
        assert_eq!(text, "`ADDRESS` did not answer within 1 second");
    }),
    ("a socket that closes at once", &[], || {
        let text = raw(TIMEOUT, drop);
        assert!(text.starts_with("`ADDRESS` closed the connection: "), "{text}");
    }),
    ("a socket that closes within the answer", &[], || {
        let text = raw(TIMEOUT, |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&[0, 0, 0, 9, 0, 0, 0, 1, 2, 0, 18, 7]);
        });
        assert!(text.starts_with("`ADDRESS` closed the connection: "), "{text}");
    }),
    ("a socket that speaks something else", &[], || {
        let text = raw(TIMEOUT, |mut stream| {
            let _ = stream.write_all(b"220 SECRET ready\r\n");
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        assert_eq!(text, "`ADDRESS` answered something that is not ttrpc");
    }),
    ("a socket that announces 4 GiB", &[], || {
        let text = raw(TIMEOUT, |mut stream| {
            let _ = stream.write_all(&[255, 255, 255, 255, 0, 0, 0, 1, 2, 0]);
            while stream.write_all(&[0; 65536]).is_ok() {}
        });
        assert_eq!(text, "`ADDRESS` answered more than 1 MiB");
    }),
    ("an answer that is not protobuf", &[], || {
        let text = raw(TIMEOUT, |mut stream| {
            let _ = stream.write_all(&[0, 0, 0, 3, 0, 0, 0, 1, 2, 0, 255, 255, 255]);
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        assert_eq!(text, "`ADDRESS` answered something that is not protobuf");
    }),
    ("an abstract socket", &[], || {
        let place = Place::new();
        let name = format!("keycell{}", place.text("socket"));
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        thread::spawn(move || drop(listener.accept()));
        let text = refused(&place.provider(&json!({"ttrpc": format!("unix://@{name}")})), TIMEOUT);
        assert!(text.contains("closed the connection"), "{text}");
    }),
    ("no socket", &[], || {
        let place = Place::new();
        assert_eq!(
            refused(&place.provider(&json!({"ttrpc": "unix:///nowhere/kms.sock"})), TIMEOUT),
            "cannot connect to `unix:///nowhere/kms.sock`: no such file or directory; is the key \
             provider running?"
        );
    }),
    ("an address that is none", &[], || {
        let place = Place::new();
        assert_eq!(
            refused(&place.provider(&json!({"ttrpc": "vsock://3:1"})), TIMEOUT),
            "`vsock://3:1` is not a ttrpc address that Keycell knows; write `unix:///PATH/OF/SOCKET`"
        );
    }),
    ("containerd's Go understands the request", &[Need::Containerd], containerd),
];

/// What a server of the crate `ttrpc` does.
#[derive(Clone, Copy)]
enum Mode {
    /// Answers with what it was given, in the form of the Rust ocicrypt.
    Normal,
    Answer(&'static [u8]),
    Refusal,
    Hang,
    NoService,
}

/// What it was asked.
#[derive(Clone)]
struct Asked {
    method: &'static str,
    timeout: i64,
    json: Value,
}

/// A running server.
struct Serving {
    address: String,
    server: Option<Server>,
    asked: Arc<Mutex<Option<Asked>>>,
}

impl Serving {
    fn at(place: &Place, mode: Mode) -> Self {
        let address = format!("unix://{}", place.text("socket"));
        let asked = Arc::new(Mutex::new(None));
        let mut methods = HashMap::new();
        for method in ["WrapKey", "UnWrapKey"] {
            let handler = Handler { mode, method, asked: Arc::clone(&asked) };
            let service =
                if matches!(mode, Mode::NoService) { "Other" } else { "KeyProviderService" };
            let path = format!("/keyprovider.{service}/{method}");
            methods.insert(path, Box::new(handler) as Box<dyn MethodHandler + Send + Sync>);
        }
        let mut server = Server::new().bind(&address).unwrap().register_service(methods);
        server.start().unwrap();
        Self { address, server: Some(server), asked }
    }

    fn asked(&self) -> Asked {
        self.asked.lock().unwrap().clone().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.server.take().unwrap().shutdown();
    }
}

struct Handler {
    mode: Mode,
    method: &'static str,
    asked: Arc<Mutex<Option<Asked>>>,
}

/// `keyProviderKeyWrapProtocolInput` and `…Output`.
#[derive(prost::Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "1")]
    json: Vec<u8>,
}

impl MethodHandler for Handler {
    fn handler(&self, context: TtrpcContext, request: Request) -> ttrpc::Result<()> {
        let asked: Value =
            serde_json::from_slice(&Envelope::decode(&request.payload[..]).unwrap().json).unwrap();
        let json = match self.mode {
            Mode::Answer(json) => json.to_vec(),
            Mode::Hang => {
                thread::sleep(Duration::from_secs(3));
                Vec::new()
            }
            _ => json!({
                "keywrapresults": {"annotation": OPTIONS},
                "keyunwrapresults": {"optsdata": OPTIONS},
            })
            .to_string()
            .into_bytes(),
        };
        let timeout = request.timeout_nano;
        *self.asked.lock().unwrap() = Some(Asked { method: self.method, timeout, json: asked });
        let mut response = Response::new();
        if let Mode::Refusal = self.mode {
            let text = "no such key\u{1b}[2J\nhint: forged".to_owned();
            response.set_status(get_status(Code::NOT_FOUND, text));
        } else {
            response.set_status(get_status(Code::OK, String::new()));
            response.payload = Envelope { json }.encode_to_vec();
        }
        context.respond(context.mh.stream_id, response)
    }
}

/// containerd itself has no such service, and says so in a status: its implementation has read the
/// request, and we have read its answer.
fn containerd() {
    let place = Place::new();
    let configuration = format!(
        "version = 2\nroot = '{}'\nstate = '{}'\nplugin_dir = ''\nimports = []\n[grpc]\naddress = '{}'\n[ttrpc]\naddress = '{}'\n",
        place.text("root"),
        place.text("state"),
        place.text("grpc"),
        place.text("ttrpc"),
    );
    fs::write(place.path("config.toml"), configuration).unwrap();
    let mut containerd = Command::new("containerd")
        .arg("--config")
        .arg(place.path("config.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while UnixStream::connect(place.path("ttrpc")).is_err() {
        assert!(Instant::now() < deadline, "containerd does not listen");
        thread::sleep(Duration::from_millis(50));
    }
    let address = format!("unix://{}", place.text("ttrpc"));
    let text = refused(&place.provider(&json!({"ttrpc": address})), TIMEOUT);
    containerd.kill().unwrap();
    containerd.wait().unwrap();
    let text = text.replace(&address, "ADDRESS");
    assert!(text.starts_with("`ADDRESS` failed with Unimplemented: "), "{text}");
    assert!(text.contains("keyprovider.KeyProviderService"), "{text}");
}

/// What comes of a server of the crate `ttrpc`.
fn of(mode: Mode, limit: Duration) -> String {
    let place = Place::new();
    let server = Serving::at(&place, mode);
    let providers = place.provider(&json!({"ttrpc": server.address}));
    message(providers.unwrap("test", b"wrapped", &[], limit)).replace(&server.address, "ADDRESS")
}

/// What comes of a server that treats its connection as `serve` does.
fn raw(limit: Duration, serve: fn(UnixStream)) -> String {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("socket")).unwrap();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    let address = format!("unix://{}", place.text("socket"));
    refused(&place.provider(&json!({"ttrpc": address})), limit).replace(&address, "ADDRESS")
}

fn encoded(bytes: &[u8]) -> String {
    use base64ct::Encoding as _;
    base64ct::Base64::encode_string(bytes)
}
