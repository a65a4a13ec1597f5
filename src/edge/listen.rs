//! Sockets that wait for clients: one for each worker and address, or an inherited one shared.
//!
//! What they are set to, connections inherit or profit from: see `prepare`.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::EdgeError;
use super::worker::Kind;
use crate::base::bounds::DEFER_ACCEPT_SECONDS;
use crate::base::bounds::FAST_OPEN_PENDING;
use crate::base::bounds::LISTEN_BACKLOG;
use crate::os::tcp;

/// Opens `workers` listeners on each of `addrs`; the kernel spreads connections over them
/// (`SO_REUSEPORT`). `[::]` takes IPv4 too. Port 0 picks one port for all workers.
///
/// # Errors
/// [`EdgeError::Listen`] names the address, the cause and what to try.
pub fn bind(addrs: &[SocketAddr], workers: usize) -> Result<Vec<TcpListener>, EdgeError> {
    let mut listeners = Vec::with_capacity(addrs.len() * workers.max(1));
    for &address in addrs {
        let mut actual = address;
        for _ in 0..workers.max(1) {
            let listener = open(actual).map_err(|source| refusal(address, source))?;
            actual = listener.local_addr().map_err(|source| refusal(address, source))?;
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

/// Copies an inherited listener for each worker; all of them accept from the same queue, so no
/// connection is lost when one of them is closed.
///
/// # Errors
/// [`EdgeError::Listen`] when no descriptor is left.
pub fn share(inherited: TcpListener, workers: usize) -> Result<Vec<TcpListener>, EdgeError> {
    let address = inherited.local_addr().map_err(EdgeError::Inherited)?;
    inherited.set_nonblocking(true).map_err(EdgeError::Inherited)?;
    let mut listeners = Vec::with_capacity(workers.max(1));
    for _ in 1..workers.max(1) {
        listeners.push(inherited.try_clone().map_err(|source| refusal(address, source))?);
    }
    listeners.push(inherited);
    Ok(listeners)
}

/// Sets what makes connections cheaper, on sockets of our own and on inherited ones alike:
///
/// - Answers go out whole, and connections inherit that from their listener on Linux.
/// - A connection is accepted when the client has spoken, so that its first message is there: no
///   wake-up for nothing, and none at all for clients that connect and say nothing at once.
/// - TLS may come in the very first packet (RFC 7413) where `net.ipv4.tcp_fastopen` admits it.
///   The network may deliver such a packet twice, which makes a second handshake that nobody
///   finishes. Plain HTTP goes without: there, a request would be answered twice.
///
/// Sockets do without what the kernel refuses.
pub(super) fn prepare(kind: Kind, listener: &TcpListener) {
    let nodelay = SockRef::from(listener).set_tcp_nodelay(true);
    let defer = match tcp::defer_accept(listener) {
        // There are protocols in which the server speaks first.
        _ if kind == Kind::Tcp => Ok(()),
        // The unit file may have a time of its own (DeferAcceptSec=).
        Ok(0) => tcp::set_defer_accept(listener, DEFER_ACCEPT_SECONDS),
        known => known.map(drop),
    };
    let fast_open = match kind {
        Kind::Https => tcp::set_fast_open(listener, FAST_OPEN_PENDING),
        Kind::Http | Kind::Tcp => Ok(()),
    };
    for (option, result) in
        [("TCP_NODELAY", nodelay), ("TCP_DEFER_ACCEPT", defer), ("TCP_FASTOPEN", fast_open)]
    {
        if let Err(error) = result {
            tracing::info!(option, %error, "an option of a listener is not to be had");
        }
    }
}

/// Whether nobody else holds `listener`, so that its queue ends with it. Ours share their port,
/// a service manager's do not.
pub(super) fn is_own(listener: &TcpListener) -> bool {
    SockRef::from(listener).reuse_port().unwrap_or(false)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    // Restarts do not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn refusal(address: SocketAddr, source: io::Error) -> EdgeError {
    let hint = match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a systemd socket unit or CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrInUse => {
            "another server or user has this port: `ss -ltnp` shows which; stop it or change [listen]"
        }
        io::ErrorKind::AddrNotAvailable => "no interface has this address: see `ip address`",
        _ => "see the cause",
    };
    EdgeError::Listen { address, source, hint }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_worker_gets_a_listener_on_the_same_port() {
        let listeners = bind(&["127.0.0.1:0".parse().unwrap()], 3).unwrap();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[test]
    fn a_port_in_use_is_named_with_what_to_try() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(&[address], 1).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&address.to_string()) && text.contains("ss -ltnp"), "{text}");
    }

    #[test]
    fn an_address_of_nobody_is_named() {
        let address = "203.0.113.7:0".parse().unwrap();
        let text = bind(&[address], 1).unwrap_err().to_string();
        assert!(text.contains("203.0.113.7") && text.contains("ip address"), "{text}");
    }

    #[test]
    fn the_unspecified_ipv6_address_takes_ipv4_too() {
        let listeners = bind(&["[::]:0".parse().unwrap()], 1).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn a_shared_listener_has_one_queue() {
        let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = inherited.local_addr().unwrap();
        let mut copies = share(inherited, 2).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        drop(copies.pop());
        copies[0].set_nonblocking(false).unwrap();
        copies[0].accept().unwrap();
    }

    /// On a listener of ours and on one that was inherited.
    #[test]
    fn a_prepared_listener_waits_for_the_client_and_its_connections_do_not_delay() {
        let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = bind(&["127.0.0.1:0".parse().unwrap()], 1).unwrap().remove(0);
        assert!(is_own(&ours) && !is_own(&inherited));
        for listener in [ours, inherited] {
            prepare(Kind::Https, &listener);
            assert_eq!(tcp::defer_accept(&listener).unwrap(), DEFER_ACCEPT_SECONDS);
            assert_eq!(tcp::fast_open(&listener).unwrap(), FAST_OPEN_PENDING);
            listener.set_nonblocking(true).unwrap();
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let early = tcp::accept(&listener).unwrap_err();
            assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "nobody has spoken");
            client.write_all(b"x").unwrap();
            listener.set_nonblocking(false).unwrap();
            let (stream, _) = tcp::accept(&listener).unwrap();
            assert!(stream.nodelay().unwrap());
        }
    }

    #[test]
    fn plain_http_takes_no_data_in_the_first_packet() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(Kind::Http, &listener);
        assert_eq!(tcp::fast_open(&listener).unwrap(), 0);
        assert_eq!(tcp::defer_accept(&listener).unwrap(), DEFER_ACCEPT_SECONDS);
    }

    #[test]
    fn a_time_that_the_unit_file_has_set_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp::set_defer_accept(&listener, 3).unwrap();
        let set = tcp::defer_accept(&listener).unwrap();
        prepare(Kind::Https, &listener);
        assert!(set > DEFER_ACCEPT_SECONDS);
        assert_eq!(tcp::defer_accept(&listener).unwrap(), set);
    }
}
