//! The server: what clients get, and where it does not listen.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64ct::{Base64, Encoding as _};
use keycell_tests::dist;
use keycell_tests::suite::Suite;
use keycell_tests::tools::Tool;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::command::refused;
use crate::fixture::{Site, to_unwrap, to_wrap};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn cases(suite: &mut Suite) {
    let mut case =
        |name: &str, needs: &[Tool], run: fn() -> Result<()>| suite.case(name, needs, run);
    case("server/wraps-and-unwraps", &[], there_and_back);
    case("server/refuses-hostile-requests", &[], hostile_requests);
    case("server/hanging-clients-block-nobody", &[], hanging_clients);
    case("server/answers-50-at-a-time", &[], fifty);
    case("server/ends-cleanly", &[], ends);
    case("server/wrong-sockets", &[], wrong_sockets);
    case("server/socket-of-another-user", &[Tool::Root], strangers_socket);
    case("server/socket-of-systemd", &[], socket_of_systemd);
}

/// A server that ends with this value.
pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "1")]
    json: Vec<u8>,
}

fn command(site: &Site, address: &str) -> Result<Command> {
    let mut command = Command::new(dist("keycell")?);
    command.args(["keyprovider", "--listen", address, "--decryption-keys-path"]);
    command.arg(site.node.keys()).stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

impl Server {
    pub(crate) fn start(site: &Site) -> Result<Self> {
        let directory = site.path("run");
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        let socket = directory.join("keyprovider.sock");
        let mut command = command(site, &format!("unix:{}", socket.display()))?;
        command.stderr(fs::File::create(site.path("server.log"))?);
        let server = Self { child: command.spawn()?, socket };
        server.listens()?;
        Ok(server)
    }

    fn listens(&self) -> Result<()> {
        let started = Instant::now();
        // The mode is the last thing that the server sets.
        while fs::metadata(&self.socket).map(|found| found.mode() & 0o777).ok() != Some(0o660) {
            ensure!(started.elapsed() < PATIENCE, "the server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn end(mut self) -> Result<std::process::ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(started.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Makes one call on a connection of its own.
fn call(socket: &Path, method: &str, json: Vec<u8>) -> Result<Result<Value, Status>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display()))?;
        let channel = endpoint.timeout(Duration::from_secs(60)).connect().await?;
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await?;
        let path = PathAndQuery::try_from(format!("/keyprovider.KeyProviderService/{method}"))?;
        let codec = ProstCodec::<Envelope, Envelope>::default();
        Ok(match client.unary(tonic::Request::new(Envelope { json }), path, codec).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer.into_inner().json)?),
            Err(status) => Err(status),
        })
    })
}

fn there_and_back() -> Result<()> {
    let site = Site::new()?;
    let server = Server::start(&site)?;
    let request = to_wrap("keycell", &site.inline()).to_string();
    let answer = call(&server.socket, "WrapKey", request.into_bytes())??;
    let wrapped = answer["keywrapresults"]["annotation"].as_str().unwrap_or_default().to_owned();
    let request = to_unwrap(&Base64::decode_vec(&wrapped)?).to_string();
    let answer = call(&server.socket, "UnWrapKey", request.into_bytes())??;
    let options = answer["keyunwrapresults"]["optsdata"].as_str().unwrap_or_default().to_owned();
    let options: Value = serde_json::from_slice(&Base64::decode_vec(&options)?)?;
    ensure!(options["symkey"] == Base64::encode_string(&[7; 32]), "{options}");
    let log = fs::read_to_string(site.path("server.log"))?;
    let uid = rustix::process::geteuid().as_raw();
    let told = log.contains(&format!("UnWrapKey for uid {uid}, gid "))
        && log.contains(&format!("pid {}: answered", std::process::id()));
    ensure!(told && !log.contains(&Base64::encode_string(&[7; 32])), "{log}");
    Ok(())
}

fn hostile_requests() -> Result<()> {
    let site = Site::new()?;
    let server = Server::start(&site)?;
    let file = site.public().display().to_string();
    let huge = vec![b' '; 2 << 20];
    for (method, json, code, words) in [
        ("UnWrapKey", b"".to_vec(), Code::InvalidArgument, "the request is empty"),
        ("UnWrapKey", b"garbage".to_vec(), Code::InvalidArgument, "no JSON"),
        ("UnWrapKey", huge, Code::ResourceExhausted, "longer than 1024 KiB"),
        ("Delete", b"{}".to_vec(), Code::Unimplemented, "there is no method"),
        (
            "UnWrapKey",
            to_unwrap(b"garbage").to_string().into_bytes(),
            Code::FailedPrecondition,
            "no wrapped key could be opened",
        ),
        (
            "WrapKey",
            to_wrap("vault", "x").to_string().into_bytes(),
            Code::InvalidArgument,
            "its parameters are for `vault`",
        ),
        (
            "WrapKey",
            to_wrap("keycell", &file).to_string().into_bytes(),
            Code::InvalidArgument,
            "no file of this name is read; hint: ",
        ),
    ] {
        let Err(status) = call(&server.socket, method, json)? else {
            anyhow::bail!("`{words}` is answered")
        };
        ensure!(status.code() == code && status.message().contains(words), "{words}: {status:?}");
    }
    UnixStream::connect(&server.socket)?.write_all(&[0xff; 4096])?;
    works(&site, &server)
}

fn works(site: &Site, server: &Server) -> Result<()> {
    let request = to_wrap("keycell", &site.inline()).to_string();
    call(&server.socket, "WrapKey", request.into_bytes())??;
    Ok(())
}

fn hanging_clients() -> Result<()> {
    let site = Site::new()?;
    let server = Server::start(&site)?;
    let mut idle = Vec::new();
    for begun in
        [&b""[..], b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"]
    {
        for _ in 0..20 {
            let mut stream = UnixStream::connect(&server.socket)?;
            stream.write_all(begun)?;
            idle.push(stream);
        }
    }
    let started = Instant::now();
    works(&site, &server)?;
    ensure!(started.elapsed() < Duration::from_secs(5), "a client waits for others");
    Ok(())
}

fn fifty() -> Result<()> {
    let site = Site::new()?;
    site.encrypt("encrypted")?;
    let server = Server::start(&site)?;
    let request = to_unwrap(&site.wrapped("encrypted")?).to_string().into_bytes();
    std::thread::scope(|scope| {
        let ask = || call(&server.socket, "UnWrapKey", request.clone());
        let all: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
        for one in all {
            let answer = one.join().map_err(|_| anyhow::anyhow!("a client panicked"))???;
            ensure!(answer["keyunwrapresults"]["optsdata"].is_string(), "{answer}");
        }
        Ok(())
    })
}

fn ends() -> Result<()> {
    let site = Site::new()?;
    let server = Server::start(&site)?;
    // A client that hangs does not hold the end up for long either.
    let _idle = UnixStream::connect(&server.socket)?;
    let socket = server.socket.clone();
    let status = server.end()?;
    ensure!(status.success() && !socket.exists(), "{status}");
    Ok(())
}

/// How a server ends that must not start.
fn started(site: &Site, socket: &Path) -> Result<Output> {
    let mut command = command(site, &format!("unix:{}", socket.display()))?;
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child.wait_with_output()?)
}

fn wrong_sockets() -> Result<()> {
    let site = Site::new()?;
    let open = site.path("open");
    fs::create_dir(&open)?;
    fs::set_permissions(&open, Permissions::from_mode(0o777))?;
    refused(&started(&site, &open.join("s"))?, "is in a directory that others can change")?;
    fs::set_permissions(&open, Permissions::from_mode(0o1777))?;
    refused(&started(&site, &open.join("s"))?, "is in a directory that others can change")?;
    refused(&started(&site, &site.path("none").join("s"))?, "no such file or directory")?;
    let file = site.path("file");
    fs::write(&file, "precious")?;
    refused(&started(&site, &file)?, "exists, and is no socket")?;
    ensure!(fs::read_to_string(&file)? == "precious", "the file is changed");
    let server = Server::start(&site)?;
    refused(&started(&site, &server.socket)?, "a server listens")?;
    works(&site, &server)?;
    let socket = server.socket.clone();
    drop(server); // by SIGKILL, which leaves the socket behind
    ensure!(socket.exists(), "there is no socket to replace");
    let server = Server::start(&site)?;
    std::thread::sleep(Duration::from_millis(200));
    works(&site, &server)
}

fn strangers_socket() -> Result<()> {
    let site = Site::new()?;
    let path = site.path("strangers.sock");
    drop(UnixListener::bind(&path)?);
    chown(&path, Some(65534), None)?;
    refused(&started(&site, &path)?, "is the socket of another user, with the number 65534")?;
    ensure!(path.exists(), "the socket is gone");
    Ok(())
}

fn socket_of_systemd() -> Result<()> {
    let site = Site::new()?;
    let path = site.path("activated.sock");
    let listener = UnixListener::bind(&path)?;
    let mut command = command(&site, "systemd")?;
    command.stdin(std::os::fd::OwnedFd::from(listener)).stderr(Stdio::null());
    let server = Server { child: command.spawn()?, socket: path };
    works(&site, &server)?;
    let path = server.socket.clone();
    ensure!(server.end()?.success() && path.exists(), "the socket is systemd's");
    let mut command = self::command(&site, "systemd")?;
    let done = command.output().context("keycell")?;
    refused(&done, "standard input is no socket")
}
