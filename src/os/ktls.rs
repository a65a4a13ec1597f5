//! TLS records made and read by the kernel, on a connection whose keys are agreed on (Linux's
//! kTLS; "Kernel TLS" in the kernel's networking documentation).
//!
//! Deliberately absent: when a connection goes over, and what its records mean to anybody. There is
//! no way back, and older kernels cannot change keys (RFC 8446, section 4.6.3).
#![expect(unsafe_code, reason = "there is no safe call that sends a record of another kind")]

use std::io;
use std::io::IoSliceMut;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::socket::ControlMessageOwned;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SetSockOpt;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::TlsGetRecordType;
use nix::sys::socket::sockopt::TcpTlsRx;
use nix::sys::socket::sockopt::TcpTlsTx;
use nix::sys::socket::sockopt::TcpUlp;
use nix::sys::socket::sockopt::TlsCryptoInfo;
use zeroize::Zeroize as _;

use crate::base::bounds::KERNEL_TLS_PROBE;

/// What records are sealed with, as far as it can be the kernel's business.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Suite {
    /// AES-128-GCM.
    Aes128,
    /// AES-256-GCM.
    Aes256,
    /// ChaCha20-Poly1305.
    ChaCha20,
}

impl Suite {
    const ALL: [Self; 3] = [Self::Aes128, Self::Aes256, Self::ChaCha20];

    const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 | Self::ChaCha20 => 32,
        }
    }
}

/// Those that this kernel has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Suites([bool; 3]);

impl Suites {
    /// Whether `suite` is one of them.
    pub const fn have(self, suite: Suite) -> bool {
        let Self([aes_128, aes_256, chacha]) = self;
        match suite {
            Suite::Aes128 => aes_128,
            Suite::Aes256 => aes_256,
            Suite::ChaCha20 => chacha,
        }
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// All of them, whatever the kernel has.
    #[cfg(test)]
    pub(crate) const fn everything() -> Self {
        Self([true; 3])
    }

    /// Whether there are all.
    pub fn all(self) -> bool {
        self == Self([true; 3])
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Keys<'a> {
    /// What seals it.
    pub suite: Suite,
    /// As long as the suite wants it.
    pub key: &'a [u8],
    /// What nonces are made of.
    pub iv: &'a [u8; 12],
    /// The number of the next record.
    pub sequence: u64,
}

/// What came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Record {
    /// A piece of what the peer says.
    Data,
    /// A piece of an alert.
    Alert,
    /// A piece of a handshake message.
    Handshake,
    /// Something that has no place here.
    Other,
    /// The connection has ended.
    End,
}

/// Puts the kernel's TLS under a connection. Until there are keys, bytes pass as they are: it is
/// without consequence where nothing follows.
///
/// # Errors
/// `NotFound` when the kernel has no module for it, and otherwise what it says.
pub fn attach(socket: &impl AsFd) -> io::Result<()> {
    Ok(TcpUlp::default().set(socket, b"tls")?)
}

/// Gives the kernel both keys of a connection of TLS 1.3: what is written from now on is sealed,
/// what is read is opened.
///
/// # Errors
/// When the kernel refuses. Nothing sensible can be said on the connection any more.
pub fn hand_over(socket: &impl AsFd, send: &Keys<'_>, receive: &Keys<'_>) -> io::Result<()> {
    set(send, |info| Ok(TcpTlsTx.set(socket, info)?))?;
    set(receive, |info| Ok(TcpTlsRx.set(socket, info)?))
}

fn set(keys: &Keys<'_>, give: impl Fn(&TlsCryptoInfo) -> io::Result<()>) -> io::Result<()> {
    if keys.key.len() != keys.suite.key_len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let header =
        |cipher_type| libc::tls_crypto_info { version: libc::TLS_1_3_VERSION, cipher_type };
    let rec_seq = keys.sequence.to_be_bytes();
    let [a, b, c, d, iv @ ..] = *keys.iv;
    let salt = [a, b, c, d];
    // What is copied here is wiped again: the rest is the business of whoever lent the keys.
    match keys.suite {
        Suite::Aes128 => {
            let info = header(libc::TLS_CIPHER_AES_GCM_128);
            let mut key = [0; 16];
            key.copy_from_slice(keys.key);
            let info = libc::tls12_crypto_info_aes_gcm_128 { info, iv, key, salt, rec_seq };
            key.zeroize();
            let mut info = TlsCryptoInfo::Aes128Gcm(info);
            let given = give(&info);
            if let TlsCryptoInfo::Aes128Gcm(info) = &mut info {
                info.key.zeroize();
            }
            given
        }
        Suite::Aes256 => {
            let info = header(libc::TLS_CIPHER_AES_GCM_256);
            let mut key = [0; 32];
            key.copy_from_slice(keys.key);
            let info = libc::tls12_crypto_info_aes_gcm_256 { info, iv, key, salt, rec_seq };
            key.zeroize();
            let mut info = TlsCryptoInfo::Aes256Gcm(info);
            let given = give(&info);
            if let TlsCryptoInfo::Aes256Gcm(info) = &mut info {
                info.key.zeroize();
            }
            given
        }
        Suite::ChaCha20 => {
            let info = header(libc::TLS_CIPHER_CHACHA20_POLY1305);
            let mut key = [0; 32];
            key.copy_from_slice(keys.key);
            let (iv, salt) = (*keys.iv, []);
            let info = libc::tls12_crypto_info_chacha20_poly1305 { info, iv, key, salt, rec_seq };
            key.zeroize();
            let mut info = TlsCryptoInfo::Chacha20Poly1305(info);
            let given = give(&info);
            if let TlsCryptoInfo::Chacha20Poly1305(info) = &mut info {
                info.key.zeroize();
            }
            given
        }
    }
}

/// Reads a piece of one record, never of two kinds at once.
///
/// # Errors
/// `WouldBlock` when none is there; `EBADMSG` when one cannot be opened; otherwise of the connection.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Record)> {
    let mut control = nix::cmsg_space!(u8);
    let mut slices = [IoSliceMut::new(buffer)];
    let fd = socket.as_fd().as_raw_fd();
    let message = nix::sys::socket::recvmsg::<SockaddrStorage>(
        fd,
        &mut slices,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let mut record = if message.bytes == 0 { Record::End } else { Record::Data };
    for control in message.cmsgs()? {
        if let ControlMessageOwned::TlsGetRecordType(kind) = control {
            record = match kind {
                TlsGetRecordType::ApplicationData => Record::Data,
                TlsGetRecordType::Alert => Record::Alert,
                TlsGetRecordType::Handshake => Record::Handshake,
                _ => Record::Other,
            };
        }
    }
    Ok((message.bytes, record))
}

/// Whether there is room to write into, a third of what the kernel keeps at least.
///
/// # Errors
/// When the kernel refuses.
pub fn has_room(socket: &impl AsFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    nix::poll::poll(&mut asked, PollTimeout::ZERO)?;
    let [asked] = asked;
    Ok(asked.any().unwrap_or(true))
}

/// Sends an alert (RFC 8446, section 6).
///
/// # Errors
/// `WouldBlock` when there is no room; otherwise of the connection.
pub fn send_alert(socket: &impl AsFd, level: u8, description: u8) -> io::Result<()> {
    /// Room for one control message with one octet, aligned as the kernel wants it.
    #[repr(C)]
    struct Control {
        head: libc::cmsghdr,
        kind: u8,
        rest: [u8; size_of::<usize>() - 1],
    }
    let mut alert = [level, description];
    let mut piece = libc::iovec { iov_base: alert.as_mut_ptr().cast(), iov_len: alert.len() };
    let mut control = Control {
        head: libc::cmsghdr {
            cmsg_len: std::mem::offset_of!(Control, kind) + 1,
            cmsg_level: libc::SOL_TLS,
            cmsg_type: libc::TLS_SET_RECORD_TYPE,
        },
        kind: 21,
        rest: [0; size_of::<usize>() - 1],
    };
    // SAFETY: all of it are numbers and pointers, for which zero stands for none.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: `message` points to locals that outlive the call, with their true lengths.
    let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The suites with which this kernel has carried an octet from one end of a connection of this
/// process to the other.
///
/// # Errors
/// Of [`attach`], and when there can be no connection at all.
pub fn probe() -> io::Result<Suites> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut suites = Suites::default();
    for (has, suite) in suites.0.iter_mut().zip(Suite::ALL) {
        let ours = TcpStream::connect(listener.local_addr()?)?;
        let (theirs, _) = listener.accept()?;
        attach(&ours)?;
        attach(&theirs)?;
        *has = carries(suite, ours, theirs).is_ok();
    }
    Ok(suites)
}

fn carries(suite: Suite, mut ours: TcpStream, mut theirs: TcpStream) -> io::Result<()> {
    let key = [7; 32];
    let key = key.get(..suite.key_len()).unwrap_or_default();
    // Each direction begins where it likes.
    let there = Keys { suite, key, iv: &[1; 12], sequence: 7 };
    let back = Keys { suite, key, iv: &[2; 12], sequence: 0 };
    hand_over(&ours, &there, &back)?;
    hand_over(&theirs, &back, &there)?;
    theirs.set_read_timeout(Some(KERNEL_TLS_PROBE))?;
    ours.write_all(b"x")?;
    let mut octet = [0];
    theirs.read_exact(&mut octet)?;
    if octet == *b"x" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
