//! UDP sockets of HTTP/3: one for each worker and address, with datagrams led to the right one.
//!
//! The kernel spreads what comes to a port over its sockets by the addresses of both ends. A client that
//! moves to another network changes its own, and its packets would come to a worker that knows nothing of
//! it. So connection ids carry the number of their socket, and a filter in the kernel goes by that in all
//! packets of connections whose handshake is done; until then a client does not move (RFC 9000, section
//! 9), and the addresses decide. A process that follows has other workers and the same sockets, which
//! keep their numbers; the mark beside it says whose connection it is. An observer learns from both
//! which one of a few sockets and processes. Where a service manager holds the one socket there is, one
//! worker has it to itself.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;
use quinn::ConnectionId;
use quinn::ConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};

use super::letters::Mark;
use crate::base::bounds::quic::QUIC_SOCKET_BUFFER;
use crate::base::tls;

/// Octets of a connection id: the number of the socket, the mark of the process, and what nobody can
/// guess.
pub(super) const LENGTH: usize = 12;

/// Where the mark is.
pub(super) const MARK_AT: usize = 2;

/// Opens a socket on `address` for each of `workers`, in their order.
///
/// # Errors
/// When the kernel refuses, or somebody has the port; that may be one of us, whose sockets would mix
/// with these.
pub(super) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    drop(open(address, false)?);
    let mut sockets = Vec::with_capacity(workers.max(1));
    for _ in 0..workers.max(1) {
        sockets.push(open(address, true)?);
    }
    if let [first, _, ..] = sockets.as_slice() {
        steer(first)?;
    }
    Ok(sockets)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // The kernel gives what it may.
    let _ = socket.set_recv_buffer_size(QUIC_SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(QUIC_SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Has the kernel choose among the sockets of this one's port (socket(7), `SO_ATTACH_REUSEPORT_CBPF`):
/// by their order, with the number that a packet with a short header (RFC 9000, section 17.3) carries.
/// For a number that no socket has, and so for long headers, it goes by the addresses as before.
fn steer(socket: &UdpSocket) -> io::Result<()> {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    };
    let mut program = [
        // The first octet; a long header has its highest bit.
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 2, 0, 0x80),
        // The two behind it.
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 1),
        step(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    setsockopt(socket, AttachReusePortCbpf, &program).map_err(io::Error::from)
}

/// Makes the connection ids of one socket of one process.
pub(super) struct Numbered(pub(super) u16, pub(super) Mark);

impl ConnectionIdGenerator for Numbered {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut octets = [0; LENGTH];
        if let Some((number, rest)) = octets.split_first_chunk_mut()
            && let Some((mark, random)) = rest.split_first_chunk_mut()
        {
            *number = self.0.to_be_bytes();
            *mark = self.1;
            if tls::fill(random).is_none() {
                // No handshake gets anywhere without randomness either.
                tracing::error!("there is no randomness for a connection id");
            }
        }
        ConnectionId::new(&octets)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), quinn_proto::InvalidCid> {
        let [high, low] = self.0.to_be_bytes();
        let [one, two] = self.1;
        let own = id.starts_with(&[high, low, one, two]);
        own.then_some(()).ok_or(quinn_proto::InvalidCid)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// From many ports, as a client that moves: the number decides, and only it.
    #[test]
    fn a_packet_comes_to_the_socket_of_its_number_wherever_it_comes_from() {
        let first = open("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let address = first.local_addr().unwrap();
        let sockets = [first, open(address, true).unwrap(), open(address, true).unwrap()];
        steer(&sockets[0]).unwrap();
        let mixed = bind(address, 2).unwrap_err();
        assert_eq!(mixed.kind(), io::ErrorKind::AddrInUse);
        for socket in &sockets {
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        for (number, socket) in sockets.iter().enumerate() {
            for _ in 0..8 {
                let numbered = |number| Numbered(number, [7, 8]);
                let number = u16::try_from(number).unwrap();
                let id = numbered(number).generate_cid();
                assert!(numbered(number).validate(&id).is_ok());
                assert!(numbered(7).validate(&id).is_err());
                assert!(Numbered(number, [7, 9]).validate(&id).is_err());
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.send_to(&[&[0x40], &id[..], b"rest"].concat(), address).unwrap();
                let mut buffer = [0; 64];
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!(from, client.local_addr().unwrap());
                assert_eq!((length, &buffer[1..=LENGTH]), (17, &id[..]));
            }
        }
        // What has no number yet goes by its addresses: always to the same one, and not all to one.
        let mut found = [0; 3];
        for _ in 0..24 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..2 {
                client.send_to(&[0xc0, 0, 0, 0, 1, 10, 0, 0], address).unwrap();
            }
            let had: Vec<usize> = sockets.iter().map(waiting).collect();
            assert!(had.contains(&2), "{had:?}");
            found.iter_mut().zip(had).for_each(|(sum, had)| *sum += had);
        }
        assert!(found.iter().filter(|count| **count > 0).count() > 1, "{found:?}");
    }

    /// How many packets wait, taken out.
    fn waiting(socket: &UdpSocket) -> usize {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 64];
        let count = std::iter::from_fn(|| socket.recv_from(&mut buffer).ok()).count();
        socket.set_nonblocking(false).unwrap();
        count
    }
}
