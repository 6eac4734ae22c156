//! gRPC in TLS with certificates that OpenSSL makes. The server requires one of the client.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use keycell_broker::providers::TIMEOUT;
use serde_json::{Value, json};

use crate::setup::{Place, Server, opens, refused};
use crate::{Case, Need};

const NEEDS: &[Need] = &[Need::Python, Need::Grpcio, Need::Openssl];

pub const CASES: &[Case] = &[
    ("the right certificates", NEEDS, || {
        let world = World::new();
        opens(&world.place.provider(&world.entry(json!({}))));
    }),
    ("each kind of client key", NEEDS, || {
        let world = World::new();
        let key = world.place.text("client.key");
        for (name, arguments) in [
            ("rsa.key", &["rsa", "-in", &key, "-traditional"][..]),
            ("pkcs8.key", &["pkcs8", "-topk8", "-nocrypt", "-in", &key]),
        ] {
            let file = world.place.text(name);
            openssl(&[arguments, &["-out", &file]].concat());
            opens(&world.place.provider(&world.entry(json!({"key-file": file}))));
        }
        for (name, algorithm) in [("p256", "EC"), ("ed25519", "ED25519")] {
            let client = world.issue(name, algorithm, "keyUsage=digitalSignature");
            let files = json!({"cert-file": client.0, "key-file": client.1});
            opens(&world.place.provider(&world.entry(files)));
        }
    }),
    ("a client without a certificate", NEEDS, || {
        let world = World::new();
        let text = world.refused(json!({"cert-file": null, "key-file": null}));
        not_accepted(&text);
    }),
    ("a certificate without its key is none, as with Go", NEEDS, || {
        let world = World::new();
        let text = world.refused(json!({"key-file": ""}));
        not_accepted(&text);
    }),
    ("a client's certificate of another authority", NEEDS, || {
        let (world, other) = (World::new(), World::new());
        let files = json!({
            "cert-file": other.place.path("client.pem"), "key-file": other.place.path("client.key"),
        });
        let text = world.refused(files);
        not_accepted(&text);
    }),
    ("a client's certificate with another key", NEEDS, || {
        let world = World::new();
        let text = world.refused(json!({"key-file": world.place.path("server.key")}));
        assert!(text.starts_with("cannot use `grpc-tls` for `ADDRESS`: the key in `"), "{text}");
        assert!(text.ends_with("` does not belong to the certificate in `cert-file`"), "{text}");
    }),
    ("a server of another authority", NEEDS, || {
        let (world, other) = (World::new(), World::new());
        let text = world.refused(json!({"root-ca-file": other.place.path("authority.pem")}));
        // Both authorities have the same name.
        assert!(text.starts_with("no TLS with `ADDRESS`: invalid peer certificate: "), "{text}");
    }),
    ("a server that the system does not trust", NEEDS, || {
        let text = World::new().refused(json!({"root-ca-file": ""}));
        assert!(
            text.contains("put the certificate of its authority into `root-ca-file`")
                || text.contains("set `root-ca-file`"),
            "{text}"
        );
    }),
    ("another name than the server's", NEEDS, || {
        let world = World::new();
        let text = world.refused(json!({"server-name": null}));
        assert!(text.ends_with("set `server-name` to a name in its certificate"), "{text}");
        let text = world.refused(json!({"server-name": "other.example"}));
        assert!(text.ends_with("set `server-name` to a name in its certificate"), "{text}");
        let text = world.refused(json!({"server-name": "not a name"}));
        assert!(text.contains("`not a name` cannot be in a certificate"), "{text}");
    }),
    ("insecure-skip-verify asks nothing of the server", NEEDS, || {
        let (world, other) = (World::new(), World::new());
        let entry = world.entry(json!({
            "insecure-skip-verify": true,
            "server-name": "other.example",
            "root-ca-file": other.place.path("authority.pem"),
        }));
        opens(&world.place.provider(&entry));
    }),
    ("a server with the certificate of its authority", NEEDS, || {
        let world = World::new();
        let files =
            ["authority.pem", "authority.key", "authority.pem"].map(|it| world.place.path(it));
        let files = [files[0].as_path(), &files[1], &files[2]];
        let server = world.place.serve("normal", "127.0.0.1:0", &files);
        let mut entry = world.entry(json!({}));
        entry["grpc"] = json!(format!("127.0.0.1:{}", server.port));
        let text = refused(&world.place.provider(&entry), TIMEOUT);
        assert!(text.ends_with("; make one for it with `CA:FALSE`"), "{text}");
    }),
    ("TLS 1.2", NEEDS, || {
        // Python's server has no switch: OpenSSL's, which then says nothing of gRPC.
        let world = World::new();
        let mut server = Command::new("openssl")
            .args(["s_server", "-tls1_2", "-accept", "0", "-cert"])
            .args([world.place.path("server.pem"), "-key".into(), world.place.path("server.key")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // `ACCEPT [::]:12345`
        let lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let line = lines.find(|line| line.starts_with("ACCEPT ")).unwrap();
        let address = format!("127.0.0.1:{}", line.rsplit(':').next().unwrap());
        let mut entry = world.entry(json!({}));
        entry["grpc"] = json!(address);
        let text = refused(&world.place.provider(&entry), crate::setup::SOON);
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(text, format!("`{address}` did not answer within 1 second"));
    }),
    ("a server without TLS", NEEDS, || {
        let world = World::new();
        let server = world.place.serve("normal", "127.0.0.1:0", &[]);
        let mut entry = world.entry(json!({}));
        entry["grpc"] = json!(format!("127.0.0.1:{}", server.port));
        let text = refused(&world.place.provider(&entry), TIMEOUT);
        assert!(text.starts_with("no TLS with `127.0.0.1:"), "{text}");
    }),
    ("a server with TLS that is asked without", NEEDS, || {
        let world = World::new();
        let entry = json!({"grpc": format!("127.0.0.1:{}", world.server.port)});
        let text = refused(&world.place.provider(&entry), TIMEOUT);
        assert!(text.starts_with("`127.0.0.1:"), "{text}");
    }),
    ("files that others can change", NEEDS, || {
        let world = World::new();
        for (member, file) in [
            ("root-ca-file", "authority.pem"),
            ("cert-file", "client.pem"),
            ("key-file", "client.key"),
        ] {
            let path = world.place.path(file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            let text = world.refused(json!({}));
            assert!(text.contains("is not trusted: `") && text.contains("`chmod go-w "), "{text}");
            assert!(text.contains(file), "{member}: {text}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        opens(&world.place.provider(&world.entry(json!({}))));
    }),
    ("files that are not what they should be", NEEDS, || {
        let world = World::new();
        let garbage = world.place.path("garbage");
        fs::write(&garbage, "SECRET").unwrap();
        for (member, wanted) in [
            ("root-ca-file", "holds no certificate in PEM, or a damaged one"),
            ("cert-file", "holds no certificate in PEM, or a damaged one"),
            ("key-file", "holds no unencrypted private key in PEM"),
        ] {
            let text = world.refused(json!({member: garbage}));
            assert!(text.starts_with("cannot use `grpc-tls` for `ADDRESS`: `"), "{text}");
            assert!(text.ends_with(wanted), "{text}");
            let text = world.refused(json!({member: "/nowhere/a.pem"}));
            assert!(
                text.ends_with("`/nowhere/a.pem` cannot be read: no such file or directory"),
                "{text}"
            );
        }
    }),
];

/// An authority, a server and a client, and the server running.
struct World {
    place: Place,
    server: Server,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=Authority",
            "-keyout",
            &place.text("authority.key"),
            "-out",
            &place.text("authority.pem"),
        ]);
        let (certificate, key) = issue(&place, "server", "RSA", "subjectAltName=DNS:kms.example");
        issue(&place, "client", "RSA", "extendedKeyUsage=clientAuth");
        let authority = place.path("authority.pem");
        let files = [certificate.as_path(), key.as_path(), authority.as_path()];
        let server = place.serve("normal", "127.0.0.1:0", &files);
        Self { place, server }
    }

    fn issue(&self, name: &str, algorithm: &str, extension: &str) -> (PathBuf, PathBuf) {
        issue(&self.place, name, algorithm, extension)
    }

    /// What reaches the server, with some members of `grpc-tls` changed.
    fn entry(&self, changed: Value) -> Value {
        let mut tls = json!({
            "root-ca-file": self.place.path("authority.pem"),
            "cert-file": self.place.path("client.pem"),
            "key-file": self.place.path("client.key"),
            "server-name": "kms.example",
        });
        tls.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        json!({"grpc": format!("127.0.0.1:{}", self.server.port), "grpc-tls": tls})
    }

    fn refused(&self, changed: Value) -> String {
        let text = refused(&self.place.provider(&self.entry(changed)), TIMEOUT);
        text.replace(&format!("127.0.0.1:{}", self.server.port), "ADDRESS")
    }
}

/// A certificate of the authority, and its key.
fn issue(place: &Place, name: &str, algorithm: &str, extension: &str) -> (PathBuf, PathBuf) {
    let file = |ending: &str| place.text(&format!("{name}.{ending}"));
    fs::write(place.path("extensions"), extension).unwrap();
    let curve: &[&str] =
        if algorithm == "EC" { &["-pkeyopt", "ec_paramgen_curve:P-256"] } else { &[] };
    openssl(&[&["genpkey", "-algorithm", algorithm, "-out", &file("key")], curve].concat());
    openssl(&["req", "-new", "-subj", "/CN=x", "-key", &file("key"), "-out", &file("csr")]);
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-CA",
        &place.text("authority.pem"),
        "-CAkey",
        &place.text("authority.key"),
        "-CAcreateserial",
        "-extfile",
        &place.text("extensions"),
        "-in",
        &file("csr"),
        "-out",
        &file("pem"),
    ]);
    (file("pem").into(), file("key").into())
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// TLS 1.3 tells a client late that its certificate is not wanted, if at all.
fn not_accepted(text: &str) {
    assert!(text.starts_with("`ADDRESS` broke the call off: "), "{text}");
    assert!(text.ends_with("; does it accept the client certificate in `cert-file`?"), "{text}");
}
