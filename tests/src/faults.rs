//! A proxy before a registry, which fails as networks and registries do, and keeps a list of requests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use base64ct::{Base64, Encoding};

use crate::registry::{PASSWORD, USER};

/// A proxy, for as long as the test runs.
pub struct Proxy {
    address: String,
    state: Arc<State>,
}

/// How a request fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The proxy answers with this status, headers and body. The registry sees nothing.
    Answer(u16, String, String),
    /// The answer breaks off after so many bytes of its body.
    CutAnswer(u64),
    /// The registry gets so many bytes of the body, and the connection breaks.
    CutRequest(u64),
    /// The registry does what it is asked for, and the connection breaks.
    LoseAnswer,
    /// The proxy answers with this status if the request continues an upload with a chunk.
    NoChunks(u16),
    /// The proxy waits before it passes the request on.
    Delay(Duration),
}

/// Who may use the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Open,
    /// The user of the tests, by name and password.
    Basic,
    /// The user of the tests, by tokens of the proxy that are good for so many requests.
    Bearer(usize),
}

/// A request that the proxy got.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path and the parameters.
    pub target: String,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// The value of `Range`.
    pub range: Option<String>,
    /// The value of `Content-Range`.
    pub content_range: Option<String>,
}

struct Rule {
    method: &'static str,
    part: String,
    times: usize,
    fault: Fault,
}

struct State {
    upstream: String,
    address: String,
    access: Access,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// How often each token may still be used.
    tokens: Mutex<Vec<usize>>,
}

struct Head {
    request: String,
    headers: Vec<(String, String)>,
}

impl Proxy {
    /// Starts a proxy before the registry at `upstream`.
    pub fn start(upstream: &str, access: Access) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            address: address.clone(),
            access,
            rules: Mutex::default(),
            seen: Mutex::default(),
            tokens: Mutex::default(),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                // A client that has gone is what the tests are about.
                thread::spawn(move || drop(state.serve(&client)));
            }
        });
        Ok(Self { address, state })
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets the next requests with this method and this part in their target fail, so many times.
    pub fn fail(&self, method: &'static str, part: &str, times: usize, fault: Fault) {
        let rule = Rule { method, part: part.to_owned(), times, fault };
        lock(&self.state.rules).push(rule);
    }

    /// The requests so far with this method and this part in their target.
    pub fn seen(&self, method: &str, part: &str) -> Vec<Seen> {
        let fits = |it: &&Seen| it.method == method && it.target.contains(part);
        lock(&self.state.seen).iter().filter(fits).cloned().collect()
    }

    /// Lets no request fail any more.
    pub fn mend(&self) {
        lock(&self.state.rules).clear();
    }

    /// How many of the faults did not happen.
    pub fn left(&self) -> usize {
        lock(&self.state.rules).iter().map(|rule| rule.times).sum()
    }
}

impl State {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client);
        let head = Head::read(&mut reader)?;
        let mut words = head.request.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let length = head.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        let authorization = head.get("authorization").map(str::to_owned);
        let range = head.get("range").map(str::to_owned);
        let content_range = head.get("content-range").map(str::to_owned);
        let is_stream = head.get("transfer-encoding") == Some("chunked");
        let seen = Seen { method, target, authorization, range, content_range };
        lock(&self.seen).push(seen.clone());
        let mut body = reader.take(length);
        if let Some((status, headers, text)) = self.judge(&seen) {
            io::copy(&mut body, &mut io::sink())?;
            return respond(client, status, &headers, &text);
        }
        let fault = self.fault(&seen);
        match &fault {
            Some(Fault::Answer(status, headers, text)) => {
                io::copy(&mut body, &mut io::sink())?;
                return respond(client, *status, headers, text);
            }
            Some(Fault::Delay(time)) => thread::sleep(*time),
            _ => {}
        }
        let mut upstream = TcpStream::connect(&self.upstream)?;
        upstream.write_all(head.forwarded().as_bytes())?;
        if let Some(Fault::CutRequest(bytes)) = fault {
            io::copy(&mut body.take(bytes), &mut upstream)?;
            upstream.shutdown(Shutdown::Write)?;
            // The registry has noticed it when it closes the connection.
            let _ = io::copy(&mut upstream, &mut io::sink());
            return client.shutdown(Shutdown::Both);
        }
        match is_stream {
            true => copy_stream(&mut body.into_inner(), &mut upstream)?,
            false => io::copy(&mut body, &mut upstream).map(drop)?,
        }
        let mut answer = BufReader::new(upstream);
        match fault {
            Some(Fault::LoseAnswer) => {
                io::copy(&mut answer, &mut io::sink())?;
                client.shutdown(Shutdown::Both)
            }
            Some(Fault::CutAnswer(bytes)) => {
                let head = Head::read(&mut answer)?;
                let mut client = client;
                client.write_all(head.text().as_bytes())?;
                io::copy(&mut answer.take(bytes), &mut client)?;
                client.shutdown(Shutdown::Both)
            }
            _ => io::copy(&mut answer, &mut { client }).map(drop),
        }
    }

    /// The answer of the token server, or that of a registry to somebody who may not use it.
    fn judge(&self, seen: &Seen) -> Option<(u16, String, String)> {
        let pair = Base64::encode_string(format!("{USER}:{PASSWORD}").as_bytes());
        let signed_in = seen.authorization.as_deref() == Some(&format!("Basic {pair}"));
        let refused = |challenge: String| {
            let text = r#"{"errors":[{"code":"UNAUTHORIZED","message":"sign in"}]}"#;
            Some((401, format!("WWW-Authenticate: {challenge}\r\n"), text.to_owned()))
        };
        let mut tokens = lock(&self.tokens);
        match self.access {
            Access::Open => None,
            Access::Basic if signed_in => None,
            Access::Basic => refused("Basic realm=\"tests\"".to_owned()),
            Access::Bearer(_) if seen.target.starts_with("/token") && !signed_in => {
                refused("Basic realm=\"tokens\"".to_owned())
            }
            Access::Bearer(uses) if seen.target.starts_with("/token") => {
                let text = format!(r#"{{"token":"number-{}","expires_in":300}}"#, tokens.len());
                tokens.push(uses);
                Some((200, String::new(), text))
            }
            Access::Bearer(_) => {
                let token = seen.authorization.as_deref().unwrap_or_default();
                let number = token.strip_prefix("Bearer number-");
                let number = number.and_then(|number| number.parse::<usize>().ok());
                if let Some(left) = number.and_then(|number| tokens.get_mut(number))
                    && *left > 0
                {
                    *left -= 1;
                    return None;
                }
                refused(format!("Bearer realm=\"http://{}/token\",service=\"s\"", self.address))
            }
        }
    }

    fn fault(&self, seen: &Seen) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let continues = seen.content_range.as_ref().is_some_and(|range| !range.starts_with("0-"));
        let fits = |rule: &&mut Rule| {
            let is_meant = continues || !matches!(rule.fault, Fault::NoChunks(_));
            let is_it = rule.method == seen.method && seen.target.contains(&rule.part);
            rule.times > 0 && is_it && is_meant
        };
        let rule = rules.iter_mut().find(fits)?;
        rule.times -= 1;
        Some(match rule.fault.clone() {
            Fault::NoChunks(status) => Fault::Answer(status, String::new(), String::new()),
            fault => fault,
        })
    }
}

impl Head {
    fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => return Ok(Self { request: request.trim_end().to_owned(), headers }),
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let fits = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().find(fits).map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        let lines = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}\r\n", self.request, lines.collect::<String>())
    }

    /// One request for each connection, and without what is only for the proxy.
    fn forwarded(mut self) -> String {
        self.headers.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("connection") && !name.eq_ignore_ascii_case("authorization")
        });
        self.headers.push(("Connection".to_owned(), "close".to_owned()));
        self.text()
    }
}

/// Passes a body of unknown length on: chunks (RFC 9112, section 7.1), of which the last is empty.
fn copy_stream(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        to.write_all(line.as_bytes())?;
        let length = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        io::copy(&mut from.take(length + 2), to)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn respond(mut client: &TcpStream, status: u16, headers: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    write!(
        client,
        "HTTP/1.1 {status} As told\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{text}"
    )?;
    client.shutdown(Shutdown::Both)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
