//! Providers behind gRPC without TLS: Python's implementation, and sockets that do something else.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use keycell_broker::providers::TIMEOUT;
use serde_json::json;

use crate::setup::{OPTIONS, Place, SOON, message, opens, parameters, refused, wrapped};
use crate::{Case, Need};

const SERVED: &[Need] = &[Need::Python, Need::Grpcio];

pub const CASES: &[Case] = &[
    ("the right key, host and port", SERVED, || {
        let place = Place::new();
        let server = place.serve("normal", "127.0.0.1:0", &[]);
        for address in ["127.0.0.1:", "localhost:", "dns:///localhost:", "http://127.0.0.1:"] {
            opens(&place.provider(&json!({"grpc": format!("{address}{}", server.port)})));
        }
    }),
    ("the right key, Unix socket", SERVED, || {
        let place = Place::new();
        let address = format!("unix:{}", place.text("socket"));
        let _server = place.serve("normal", &address, &[]);
        opens(&place.provider(&json!({"grpc": address})));
        opens(&place.provider(&json!({"grpc": format!("unix://{}", place.text("socket"))})));
    }),
    ("the right key, abstract Unix socket", SERVED, || {
        let place = Place::new();
        let address = format!("unix-abstract:keycell{}", place.text("socket").replace('/', "-"));
        let _server = place.serve("normal", &address, &[]);
        opens(&place.provider(&json!({"grpc": address})));
    }),
    ("an answer in the Rust ocicrypt's form", SERVED, || {
        let place = Place::new();
        let server = place.serve("numbers", "127.0.0.1:0", &[]);
        opens(&place.provider(&json!({"grpc": format!("127.0.0.1:{}", server.port)})));
    }),
    ("it wraps and unwraps, and gets only its own parameters", SERVED, || {
        let place = Place::new();
        let server = place.serve("normal", "127.0.0.1:0", &[]);
        let address = format!("127.0.0.1:{}", server.port);
        let providers =
            place.providers(&json!({"test": {"grpc": address}, "other": {"grpc": "a:1"}}));
        let wrapped = providers.wrap("test", OPTIONS, &[b"a".to_vec()], TIMEOUT).unwrap();
        assert_eq!(place.recorded()["op"], "keywrap");
        let secrets = parameters(&["b"]);
        let unwrapped = providers.unwrap("test", &wrapped, &secrets, TIMEOUT).unwrap();
        assert_eq!(*unwrapped, OPTIONS);
        let request = place.recorded();
        assert_eq!(request["op"], "keyunwrap");
        assert_eq!(request["keyunwrapparams"]["dc"], json!({"Parameters": {"test": ["Yg=="]}}));
    }),
    ("what it cannot open", SERVED, || {
        // Python's gRPC tells that the call has raised an error.
        let text = python("normal", b"wrapped", TIMEOUT);
        assert!(text.contains("failed with Unknown: Exception calling application"), "{text}");
    }),
    ("it refuses", SERVED, || {
        let text = python("refuse", &wrapped(), TIMEOUT);
        assert_eq!(text, "`ADDRESS` failed with PermissionDenied: not for [2Jyou hint: forged");
    }),
    ("it refuses at length", SERVED, || {
        let text = python("long refusal", &wrapped(), TIMEOUT);
        assert!(
            text.starts_with("`ADDRESS` failed with Internal: xxx") && text.contains('…'),
            "{text}"
        );
    }),
    ("it hangs", SERVED, || {
        let begin = Instant::now();
        let text = python("hang", &wrapped(), SOON);
        assert_eq!(text, "`ADDRESS` did not answer within 1 second");
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    }),
    ("garbage", SERVED, || {
        let text = python("garbage", &wrapped(), TIMEOUT);
        assert_eq!(text, "`ADDRESS` answered something that is not JSON, see its line 1, column 1");
    }),
    ("an empty object", SERVED, || {
        let text = python("empty", &wrapped(), TIMEOUT);
        assert_eq!(
            text,
            "`ADDRESS` answered without a key: `keyunwrapresults.optsdata` is missing or empty"
        );
    }),
    ("a flood", SERVED, || {
        let text = python("flood", &wrapped(), TIMEOUT);
        assert_eq!(text, "`ADDRESS` answered more than 1 MiB");
    }),
    ("a server that accepts and is silent", &[], || {
        let (text, _) = raw(SOON, |_| thread::sleep(Duration::from_secs(3)));
        assert_eq!(text, "`ADDRESS` did not answer within 1 second");
    }),
    ("a server that closes at once", &[], || {
        let (text, _) = raw(TIMEOUT, drop);
        assert!(text.starts_with("`ADDRESS` broke the call off: "), "{text}");
        assert!(text.ends_with("; does it speak gRPC, and without TLS?"), "{text}");
    }),
    ("a server that reads and closes", &[], || {
        let (text, _) = raw(TIMEOUT, |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
        });
        assert!(text.starts_with("`ADDRESS` broke the call off: "), "{text}");
        assert!(text.ends_with("; does it speak gRPC, and without TLS?"), "{text}");
    }),
    ("a server that speaks HTTP/1.1", &[], || {
        let (text, _) = raw(TIMEOUT, |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 SECRET\r\nconnection: close\r\n\r\n");
        });
        assert!(text.starts_with("`ADDRESS` broke the call off: "), "{text}");
        assert!(text.ends_with("; does it speak gRPC, and without TLS?"), "{text}");
    }),
    ("a server that floods without frames", &[], || {
        let (text, took) =
            raw(TIMEOUT, |mut stream| while stream.write_all(&[0xff; 65536]).is_ok() {});
        assert!(text.starts_with("`ADDRESS` broke the call off: "), "{text}");
        assert!(text.ends_with("; does it speak gRPC, and without TLS?"), "{text}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }),
    ("nobody listens", &[], || {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = Place::new();
        let address = format!("127.0.0.1:{port}");
        assert_eq!(
            refused(&place.provider(&json!({"grpc": address})), TIMEOUT),
            format!(
                "cannot connect to `{address}`: connection refused; is the key provider running?"
            )
        );
    }),
    ("a host without a route", &[], || {
        // RFC 5737: addresses for documentation. Refused or left waiting, as the network has it.
        let place = Place::new();
        let text = refused(&place.provider(&json!({"grpc": "192.0.2.1:50051"})), SOON);
        assert!(text.contains("`192.0.2.1:50051`"), "{text}");
    }),
    ("a host that does not exist", &[], || {
        // RFC 6761: no such name, ever.
        let place = Place::new();
        let begin = Instant::now();
        let text = refused(&place.provider(&json!({"grpc": "kms.invalid:50051"})), SOON);
        assert!(text.contains("`kms.invalid:50051`"), "{text}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }),
    ("no socket", &[], || {
        let place = Place::new();
        assert_eq!(
            refused(&place.provider(&json!({"grpc": "unix:///nowhere/kms.sock"})), TIMEOUT),
            "cannot connect to `unix:///nowhere/kms.sock`: no such file or directory; is the key \
             provider running?"
        );
    }),
    ("an address that is none", &[], || {
        let place = Place::new();
        assert_eq!(
            refused(&place.provider(&json!({"grpc": "https://kms"})), TIMEOUT),
            "`https://kms` is not a gRPC address that Keycell knows; write `HOST:PORT` or \
             `unix:///PATH/OF/SOCKET`"
        );
    }),
];

/// What comes of Python's server in `mode`. The port is replaced.
fn python(mode: &str, wrapped: &[u8], limit: Duration) -> String {
    let place = Place::new();
    let server = place.serve(mode, "127.0.0.1:0", &[]);
    let address = format!("127.0.0.1:{}", server.port);
    let providers = place.provider(&json!({"grpc": address}));
    message(providers.unwrap("test", wrapped, &[], limit)).replace(&address, "ADDRESS")
}

/// What comes of a server that treats its connections as `serve` does, and how long it took.
fn raw(limit: Duration, serve: fn(std::net::TcpStream)) -> (String, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Ends with the test program, should nobody connect.
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
    let place = Place::new();
    let begin = Instant::now();
    let text = refused(&place.provider(&json!({"grpc": address})), limit);
    (text.replace(&address, "ADDRESS"), begin.elapsed())
}
