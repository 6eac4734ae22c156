//! Connects to an address: `wasi:sockets` is not there, so it is never instantiated.

use std::net::TcpStream;

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};

struct Sockets;

impl Fixture for Sockets {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        report.attempt("connect", TcpStream::connect("192.0.2.1:80"));
        Err(report.failure())
    }
}

fixture!(Sockets);
