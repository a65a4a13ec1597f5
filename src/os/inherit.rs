//! Listening sockets that the service manager opened before this process began.
//!
//! The environment is read once and left as it is: to change it is not safe once threads run, and
//! a child does not believe `LISTEN_PID` anyway, because it has another process id.
//! Deliberately absent: which name means what. The caller asks for its sockets by name.
#![expect(unsafe_code, reason = "an inherited descriptor is a bare number until it is owned")]

use std::io;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

/// Why inherited descriptors are not usable. All of these are faults of the unit files.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// The variables contradict each other, or name a descriptor that is not open.
    #[error("LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES do not describe open descriptors: {0}")]
    Environment(#[source] io::Error),
    /// A descriptor is not what the protocol says.
    #[error(
        "inherited descriptor {fd} ({name:?}) is neither a listening stream socket nor one for UDP"
    )]
    NotListening {
        /// Its number.
        fd: RawFd,
        /// Its `FileDescriptorName=`.
        name: String,
    },
    /// A listening stream socket, but neither TCP nor Unix.
    #[error("inherited descriptor {fd} ({name:?}) is neither a TCP nor a Unix socket")]
    Family {
        /// Its number.
        fd: RawFd,
        /// Its `FileDescriptorName=`.
        name: String,
    },
    /// The caller wanted the other family under this name.
    #[error("inherited socket {name:?} is a {found} socket, a {wanted} socket was expected")]
    Kind {
        /// Its `FileDescriptorName=`.
        name: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The sockets were taken before.
    #[error("the inherited descriptors have an owner already")]
    Taken,
}

/// One inherited socket. It listens or is for datagrams, does not block, and closes on exec.
#[derive(Debug)]
enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(UdpSocket),
}

impl Inherited {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "TCP",
            Self::Unix(_) => "Unix",
            Self::Udp(_) => "UDP",
        }
    }
}

/// The inherited sockets by name. Names may repeat: one unit can have several `ListenStream=`.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(String, Inherited)>);

static TAKEN: AtomicBool = AtomicBool::new(false);

impl Sockets {
    /// Takes over what the service manager passed; empty when it passed nothing to this process.
    ///
    /// Call it once, first thing in `main`: before that, nobody else can own descriptors from 3
    /// upwards.
    ///
    /// # Errors
    /// When a descriptor is not what the variables say it is, or on a second call that finds
    /// sockets.
    pub fn from_environment() -> Result<Self, InheritError> {
        let named = sd_notify::listen_fds_with_names().map_err(InheritError::Environment)?;
        if named.len() == 0 {
            return Ok(Self::default());
        }
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(InheritError::Taken);
        }
        let mut sockets = Vec::with_capacity(named.len());
        for (fd, name) in named {
            // SAFETY: LISTEN_PID names this process, so the service manager left `fd` open for it
            // to own (fcntl on it has just succeeded); TAKEN lets only one caller get this far.
            let owned = unsafe { OwnedFd::from_raw_fd(fd) };
            let inherited = examine(owned, fd, &name)?;
            sockets.push((name, inherited));
        }
        Ok(Self(sockets))
    }

    /// Takes over what another process handed to this one, each with its name.
    ///
    /// # Errors
    /// When one is neither a listening stream socket nor one for UDP.
    pub fn handed(all: Vec<(String, OwnedFd)>) -> Result<Self, InheritError> {
        let examined = all.into_iter().map(|(name, owned)| {
            let fd = owned.as_raw_fd();
            examine(owned, fd, &name).map(|socket| (name, socket))
        });
        examined.collect::<Result<_, _>>().map(Self)
    }

    /// Copies of all that nobody has taken yet, to be handed to another process.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn copies(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let copy = |socket: &Inherited| match socket {
            Inherited::Tcp(listener) => listener.try_clone().map(OwnedFd::from),
            Inherited::Unix(listener) => listener.try_clone().map(OwnedFd::from),
            Inherited::Udp(socket) => socket.try_clone().map(OwnedFd::from),
        };
        self.0.iter().map(|(name, socket)| Ok((name.clone(), copy(socket)?))).collect()
    }

    /// Removes and returns the TCP listeners called `name`, in the order of the unit file.
    ///
    /// # Errors
    /// When a socket of that name is another.
    pub fn take_tcp(&mut self, name: &str) -> Result<Vec<TcpListener>, InheritError> {
        self.take_only(name, "TCP", |inherited| match inherited {
            Inherited::Tcp(listener) => Ok(listener),
            other => Err(other.kind()),
        })
    }

    /// Removes and returns the Unix listeners called `name`.
    ///
    /// # Errors
    /// When a socket of that name is another.
    pub fn take_unix(&mut self, name: &str) -> Result<Vec<UnixListener>, InheritError> {
        self.take_only(name, "Unix", |inherited| match inherited {
            Inherited::Unix(listener) => Ok(listener),
            other => Err(other.kind()),
        })
    }

    /// Removes and returns the UDP sockets called `name`.
    ///
    /// # Errors
    /// When a socket of that name is another.
    pub fn take_udp(&mut self, name: &str) -> Result<Vec<UdpSocket>, InheritError> {
        self.take_only(name, "UDP", |inherited| match inherited {
            Inherited::Udp(socket) => Ok(socket),
            other => Err(other.kind()),
        })
    }

    /// Names of the sockets nobody has taken yet: a unit file names one that keyward does not know.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn take_only<T>(
        &mut self,
        name: &str,
        wanted: &'static str,
        pick: fn(Inherited) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, InheritError> {
        let taken: Vec<_> = self.0.extract_if(.., |(own, _)| own == name).collect();
        let kind = |found| InheritError::Kind { name: name.to_owned(), found, wanted };
        taken.into_iter().map(|(_, socket)| pick(socket).map_err(kind)).collect()
    }
}

/// Checks that `owned` is a listening stream socket, or one for UDP, and makes it non-blocking.
fn examine(owned: OwnedFd, fd: RawFd, name: &str) -> Result<Inherited, InheritError> {
    let socket = Socket::from(owned);
    let not_listening = || InheritError::NotListening { fd, name: name.to_owned() };
    // A file or a pipe answers with an error here, which says the same.
    let listening = socket.is_listener().unwrap_or(false);
    let datagrams = match socket.r#type() {
        Ok(Type::STREAM) if listening => false,
        Ok(Type::DGRAM) => true,
        Ok(_) | Err(_) => return Err(not_listening()),
    };
    socket
        .set_cloexec(true)
        .and_then(|()| socket.set_nonblocking(true))
        .map_err(|_error| not_listening())?;
    match socket.domain() {
        Ok(Domain::IPV4 | Domain::IPV6) if datagrams => Ok(Inherited::Udp(socket.into())),
        Ok(Domain::UNIX) if datagrams => Err(not_listening()),
        Ok(Domain::IPV4 | Domain::IPV6) => Ok(Inherited::Tcp(socket.into())),
        Ok(Domain::UNIX) => Ok(Inherited::Unix(socket.into())),
        Ok(_) | Err(_) => Err(InheritError::Family { fd, name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(parts: Vec<(&str, OwnedFd)>) -> Result<Sockets, InheritError> {
        Sockets::handed(parts.into_iter().map(|(name, owned)| (name.to_owned(), owned)).collect())
    }

    #[test]
    fn listeners_are_found_by_name_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        let two = TcpListener::bind("[::1]:0").unwrap();
        let admin = UnixListener::bind(dir.path().join("admin.sock")).unwrap();
        let mut sockets =
            sockets(vec![("https", one.into()), ("https", two.into()), ("admin", admin.into())])
                .unwrap();
        // Copies are the same sockets under the same names.
        let again = Sockets::handed(sockets.copies().unwrap()).unwrap();
        assert_eq!(again.names().collect::<Vec<_>>(), ["https", "https", "admin"]);
        let https = sockets.take_tcp("https").unwrap();
        assert_eq!(https.len(), 2);
        assert_eq!(https[0].local_addr().unwrap().port(), port);
        assert!(sockets.take_tcp("https").unwrap().is_empty());
        assert_eq!(sockets.names().collect::<Vec<_>>(), ["admin"]);
        assert_eq!(sockets.take_unix("admin").unwrap().len(), 1);
    }

    #[test]
    fn a_taken_listener_does_not_block() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sockets = sockets(vec![("http", listener.into())]).unwrap();
        let http = sockets.take_tcp("http").unwrap();
        assert_eq!(http[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        assert!(matches!(sockets(vec![("https", file)]), Err(InheritError::NotListening { .. })));
        let (one, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let one: OwnedFd = one.into();
        assert!(matches!(sockets(vec![("http3", one)]), Err(InheritError::NotListening { .. })));
        let (half, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(
            sockets(vec![("admin", half.into())]),
            Err(InheritError::NotListening { .. })
        ));
    }

    #[test]
    fn a_socket_for_datagrams_is_one_for_udp_and_nothing_else() {
        let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut sockets = sockets(vec![("http3", udp()), ("https", udp())]).unwrap();
        let http3 = sockets.take_udp("http3").unwrap();
        let mut buffer = [0; 8];
        let waits = http3[0].recv(&mut buffer).unwrap_err();
        assert_eq!((http3.len(), waits.kind()), (1, io::ErrorKind::WouldBlock));
        let error = sockets.take_tcp("https").unwrap_err().to_string();
        assert_eq!(error, "inherited socket \"https\" is a UDP socket, a TCP socket was expected");
    }

    #[test]
    fn the_wrong_family_under_a_name_is_refused() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sockets = sockets(vec![("admin", tcp.into())]).unwrap();
        let error = sockets.take_unix("admin").unwrap_err().to_string();
        assert_eq!(error, "inherited socket \"admin\" is a TCP socket, a Unix socket was expected");
    }

    /// The whole protocol over a real exec. Descriptor 3 has to be set between fork and exec, which
    /// a shell does; it also knows the process id it is about to keep.
    #[test]
    fn sockets_survive_an_exec_with_the_protocol_of_the_service_manager() {
        const ROLE: &str = "KEYWARD_TEST_INHERIT";
        if std::env::var_os(ROLE).is_some() {
            let mut sockets = Sockets::from_environment().unwrap();
            let https = sockets.take_tcp("https").unwrap();
            assert_eq!(https.len(), 1, "one listener is passed");
            assert!(matches!(Sockets::from_environment(), Err(InheritError::Taken)));
            let port = https[0].local_addr().unwrap().port();
            assert_eq!(std::env::var(ROLE).unwrap(), port.to_string());
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let output = std::process::Command::new("sh")
            .args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--test-threads=1", "os::inherit::tests::sockets_survive_an_exec_with_the_protocol_of_the_service_manager"])
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "https")
            .env(ROLE, port.to_string())
            .stdin(OwnedFd::from(listener))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
