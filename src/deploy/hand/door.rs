//! Where hands come from: the service manager, where it has a socket for them, or else the porter that
//! main started before its wall went up.
//!
//! Deliberately absent: what is said to a hand.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::UnixAddr;
use nix::sys::socket::sockopt::PeerCredentials;

use crate::os::descriptors;

/// The socket of `keyward-deploy.socket`.
const MANAGER: &str = "/run/keyward-deploy.sock";

/// The way to hands. Clones are the same way; the porter ends with the last.
#[derive(Clone, Debug)]
pub struct Hand {
    porter: Arc<OwnedFd>,
    manager: PathBuf,
}

impl Hand {
    /// Starts the porter for the configuration at `config`, with the program that runs. To be called
    /// before main's wall is raised, which it would inherit.
    ///
    /// # Errors
    /// When there is no process to be had.
    pub fn start(config: &Path) -> io::Result<Self> {
        Self::start_from(Path::new("/proc/self/exe"), config, Path::new(MANAGER))
    }

    /// The same with a program and a socket of the service manager's that are named.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_from(program: &Path, config: &Path, manager: &Path) -> io::Result<Self> {
        let (ours, theirs) = descriptors::seqpacket_pair()?;
        // Not waited for: it ends with this process.
        let _ends_with_main = Command::new(program)
            .arg0("keyward")
            .arg("deploy-porter")
            .arg(std::path::absolute(config)?)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { porter: Arc::new(ours), manager: manager.to_owned() })
    }

    /// The socket to a new hand.
    pub(super) fn call(&self) -> Result<OwnedFd, String> {
        match connect(&self.manager) {
            Ok(socket) => return root_alone(socket, &self.manager),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", self.manager.display())),
        }
        let (ours, theirs) = descriptors::seqpacket_pair().map_err(|error| error.to_string())?;
        descriptors::send_with(self.porter.as_fd(), &[0], &[theirs.as_fd()])
            .map_err(|error| format!("the process that starts others is gone ({error})"))?;
        Ok(ours)
    }
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = nix::sys::socket::socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// The service manager listens there, and nobody else may.
fn root_alone(socket: OwnedFd, path: &Path) -> Result<OwnedFd, String> {
    match nix::sys::socket::getsockopt(&socket, PeerCredentials) {
        Ok(peer) if peer.uid() == 0 => Ok(socket),
        Ok(peer) => Err(format!("{}: the user {} listens there", path.display(), peer.uid())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
