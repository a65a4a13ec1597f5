//! TCP as a server wants it: options of listeners, an accept without detours.
//!
//! Deliberately absent: which socket gets which option. That is decided where listeners are made.
#![expect(unsafe_code, reason = "accept4 and two options of Linux have no safe call")]

use std::ffi::c_int;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use socket2::SockAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ktls;
use super::ktls::Suites;
use super::sandbox::Standing;

/// Takes the next connection: it does not block, closes on exec, and that costs one call.
///
/// # Errors
/// `WouldBlock` when none waits; otherwise what the kernel says.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let take = |address: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: both pointers come from socket2 and are good for this call; `length` says how
        // much room there is.
        let fd = unsafe { libc::accept4(listener.as_raw_fd(), address.cast(), length, flags) };
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
    };
    // SAFETY: accept4 writes a whole address and its length, or fails.
    let (fd, peer) = unsafe { SockAddr::try_init(take) }?;
    // SAFETY: accept4 has just made this descriptor, and nobody else knows it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let peer = peer.as_socket().ok_or_else(|| io::Error::other("a client that is not on IP"))?;
    Ok((owned.into(), peer))
}

/// Puts a listener under the watch of the current runtime: it is told when connections wait.
///
/// # Errors
/// When the kernel refuses.
pub fn watch(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a listener owns one open descriptor from its making to its end.
    let watched = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}

/// Has connections wait in the kernel until the client has said something, for `seconds` at most;
/// then they come as they are. 0 ends it, for those that wait already too (tcp(7),
/// `TCP_DEFER_ACCEPT`).
///
/// # Errors
/// When the kernel refuses.
pub fn set_defer_accept(listener: &TcpListener, seconds: i32) -> io::Result<()> {
    set(listener, libc::TCP_DEFER_ACCEPT, seconds)
}

/// For how long connections wait for the client's first octet, in seconds; 0 when they do not.
///
/// # Errors
/// When the kernel refuses.
pub fn defer_accept(listener: &TcpListener) -> io::Result<i32> {
    get(listener, libc::TCP_DEFER_ACCEPT)
}

/// Accepts data in a client's first packet (RFC 7413), from at most `pending` clients whose
/// address is not proven yet. Without effect unless `net.ipv4.tcp_fastopen` has bit 2.
///
/// # Errors
/// When the kernel refuses.
pub fn set_fast_open(listener: &TcpListener, pending: i32) -> io::Result<()> {
    set(listener, libc::TCP_FASTOPEN, pending)
}

/// How many clients may be pending, as [`set_fast_open`] has set it.
///
/// # Errors
/// When the kernel refuses.
pub fn fast_open(listener: &TcpListener) -> io::Result<i32> {
    get(listener, libc::TCP_FASTOPEN)
}

fn set(listener: &TcpListener, option: c_int, value: c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
    let pointer = std::ptr::from_ref(&value).cast();
    let fd = listener.as_raw_fd();
    // SAFETY: `pointer` is to an integer of `size` octets that outlives the call.
    let result = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, option, pointer, size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get(listener: &TcpListener, option: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
    let pointer = std::ptr::from_mut(&mut value).cast();
    let fd = listener.as_raw_fd();
    // SAFETY: `pointer` is to an integer of `size` octets that the kernel may write.
    let result = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, option, pointer, &raw mut size) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Something the kernel may do for a server, and whether it does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// What.
    pub name: &'static str,
    /// Whether it is to be had.
    pub standing: Standing,
    /// If not, why, and what to do about it.
    pub detail: String,
}

/// What this kernel does for a server, tried out, and of TLS only what is wanted.
pub fn offers(kernel_tls: bool) -> Vec<Offer> {
    let switch = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen");
    vec![fast_open_offer(switch), kernel_tls_offer(kernel_tls.then(ktls::probe))]
}

fn fast_open_offer(switch: io::Result<String>) -> Offer {
    let text = switch.unwrap_or_default();
    let text = text.trim();
    // Bit 1 is for clients, bit 2 for servers (ip-sysctl in the kernel's documentation).
    let offered = text.parse::<u32>().is_ok_and(|bits| bits & 2 != 0);
    let detail = match (offered, text) {
        (true, _) => String::new(),
        (false, "") => "this kernel does not have it".to_owned(),
        (false, bits) => format!("net.ipv4.tcp_fastopen is {bits}, servers need 3"),
    };
    let standing = if offered { Standing::Full } else { Standing::Absent };
    Offer { name: "fast open", standing, detail }
}

fn kernel_tls_offer(probed: Option<io::Result<Suites>>) -> Offer {
    let (standing, detail) = match probed {
        None => (Standing::Absent, "[tls] ktls is off".to_owned()),
        Some(Ok(suites)) if suites.all() => (Standing::Full, String::new()),
        Some(Ok(suites)) if suites.any() => {
            (Standing::Partial, "not for every cipher: modprobe gcm, chacha20poly1305".to_owned())
        }
        Some(Ok(_)) => {
            (Standing::Absent, "the kernel has it, for no cipher that is used".to_owned())
        }
        Some(Err(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
            (Standing::Absent, "no module tls is loaded: modprobe tls".to_owned())
        }
        Some(Err(error)) => (Standing::Absent, format!("the kernel refuses it: {error}")),
    };
    Offer { name: "kernel TLS", standing, detail }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::io::Read;
    use std::io::Write;

    use super::*;

    fn pair() -> (TcpListener, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener, client)
    }

    #[test]
    fn an_accepted_connection_does_not_block_and_closes_on_exec() {
        let (listener, mut client) = pair();
        let (mut stream, peer) = accept(&listener).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let flags = nix::fcntl::fcntl(&stream, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        stream.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(accept(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_client_on_ipv6_has_its_address() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(accept(&listener).unwrap().1, client.local_addr().unwrap());
    }

    #[test]
    fn options_are_what_was_set() {
        let (listener, _client) = pair();
        assert_eq!((defer_accept(&listener).unwrap(), fast_open(&listener).unwrap()), (0, 0));
        set_defer_accept(&listener, 1).unwrap();
        set_fast_open(&listener, 7).unwrap();
        assert_eq!((defer_accept(&listener).unwrap(), fast_open(&listener).unwrap()), (1, 7));
        set_defer_accept(&listener, 0).unwrap();
        assert_eq!(defer_accept(&listener).unwrap(), 0);
        assert_eq!(set_fast_open(&listener, -1).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn fast_open_is_offered_when_the_switch_has_the_bit_for_servers() {
        for (text, standing) in [
            ("0\n", Standing::Absent),
            ("1\n", Standing::Absent),
            ("2\n", Standing::Full),
            ("3\n", Standing::Full),
            ("1027\n", Standing::Full),
            ("what", Standing::Absent),
        ] {
            assert_eq!(fast_open_offer(Ok(text.to_owned())).standing, standing, "{text}");
        }
        let none = fast_open_offer(Err(ErrorKind::NotFound.into()));
        assert_eq!(none.detail, "this kernel does not have it");
        let off = fast_open_offer(Ok("1\n".to_owned()));
        assert_eq!(off.detail, "net.ipv4.tcp_fastopen is 1, servers need 3");
    }

    /// What was found by trying is what the kernel lists, wherever this runs.
    #[test]
    fn kernel_tls_is_offered_where_the_kernel_lists_it() {
        let offer = kernel_tls_offer(Some(ktls::probe()));
        let listed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp").unwrap();
        let listed = listed.split_whitespace().any(|name| name == "tls");
        assert_eq!(offer.standing != Standing::Absent, listed, "{offer:?}");
        let missing = kernel_tls_offer(Some(Err(io::Error::from_raw_os_error(libc::ENOENT))));
        assert_eq!(missing.detail, "no module tls is loaded: modprobe tls");
        let none = kernel_tls_offer(Some(Ok(Suites::default())));
        assert_eq!(none.standing, Standing::Absent);
        assert_eq!(kernel_tls_offer(None).detail, "[tls] ktls is off");
    }
}
