//! Connects to an address and asks for one: the functions of `wasi:sockets` are there and fail.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Report, Request, fixture};

struct Sockets;

impl Fixture for Sockets {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let mut report = Report::default();
        report.attempt("connect", TcpStream::connect("192.0.2.1:80"));
        report.attempt("connect to the node", TcpStream::connect("127.0.0.1:10250"));
        report.attempt("listen", TcpListener::bind("0.0.0.0:0"));
        report.attempt("datagrams", UdpSocket::bind("0.0.0.0:0"));
        report
            .attempt("look up", "registry.example:443".to_socket_addrs().map(|mut all| all.next()));
        Err(report.failure())
    }
}

fixture!(Sockets);
