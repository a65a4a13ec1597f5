//! The keeper starts the program anew for a main that is to be followed by another.
//!
//! Main cannot do that itself: what it starts would inherit its walls. It cannot choose what is started
//! either: the program's path and its configuration were settled before its first byte from a
//! stranger, so a main that somebody else has taken over gets the genuine program, or none. Where
//! the master key comes from a passphrase, a keeper for the new main is started as well, with what was
//! asked for as the first frame of its socket; the new main gets the other end, at which it cannot
//! be read. Deliberately absent: whatever the two mains have to say to each other.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use zeroize::Zeroizing;

use super::asker;
use super::client::Vault;
use super::error::VaultError;
use super::master::Found;
use super::master::MasterKeySource;
use crate::base::bounds;
use crate::os::descriptors;
use crate::os::orphan;

/// The last argument of a keeper that is handed the master key.
pub(super) const HANDED: &str = "handed";

/// The one thing that main may say to its keeper.
pub(super) const BEGIN_ANEW: &[u8] = b"begin anew";

/// What became of the question for a passphrase; shared by those who hand it on.
pub(super) type Asked = Arc<Mutex<Option<Result<Found, String>>>>;

/// What the service manager said about sockets and its watchdog, which was meant for one process.
const NOT_FOR_OTHERS: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How the program is started anew.
pub(super) struct Program {
    /// Where it was found when this one was started; by now another one may lie there.
    exe: PathBuf,
    config: OsString,
    source: MasterKeySource,
    asked: Asked,
}

impl Program {
    /// `None` where the program cannot say where it is, or was started without a file.
    pub(super) fn new(config: OsString, source: MasterKeySource, asked: Asked) -> Option<Self> {
        let exe = std::env::current_exe().ok().filter(|_| !config.is_empty())?;
        Some(Self { exe, config, source, asked })
    }

    /// Starts it, and gives the old main's end of a socket between the two. Its other end is the
    /// new one's standard input, with a first frame from here: [`HandedKeeper`].
    pub(super) fn begin(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) = descriptors::seqpacket_pair()?;
        match self.keeper()? {
            Some((pid, keeper)) => {
                descriptors::send_with(ours.as_fd(), &pid.to_le_bytes(), &[keeper.as_fd()])?;
            }
            None => descriptors::send(ours.as_fd(), &0_u32.to_le_bytes())?,
        }
        let mut command = Command::new(&self.exe);
        command
            .arg0("keyward")
            .args(["run", "--succeed", "--config"])
            .arg(&self.config)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null());
        for name in NOT_FOR_OTHERS {
            command.env_remove(name);
        }
        orphan::spawn(&mut command)?;
        Ok(ours)
    }

    /// A keeper that need not ask again, where there was something to ask for.
    fn keeper(&self) -> io::Result<Option<(u32, OwnedFd)>> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asked) = &*asked else { return Ok(None) };
        let (ours, theirs) = descriptors::seqpacket_pair()?;
        descriptors::send(ours.as_fd(), &asker::encode(asked))?;
        let child = Command::new(&self.exe)
            .arg0("keyward")
            .arg("vault-keeper")
            .args(self.source.to_arguments())
            .arg(&self.config)
            .arg(HANDED)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Some((child.id(), ours)))
    }
}

/// What a keeper that is handed the master key finds on its socket.
pub(super) fn handed(main: &OwnedFd) -> Result<Found, String> {
    let mut frame = Zeroizing::new([0; bounds::VAULT_TEXT + 1]);
    let len = descriptors::receive(main.as_fd(), &mut *frame).unwrap_or(0);
    asker::decode(frame.get(..len).unwrap_or_default())
}

/// The keeper that a new main is given by the one that started both.
#[derive(Debug)]
pub struct HandedKeeper {
    pub(super) socket: OwnedFd,
    pub(super) pid: u32,
}

impl HandedKeeper {
    /// Reads the first frame of `socket`, which is from the keeper of the old main; `None` when
    /// there was no passphrase to ask for.
    ///
    /// # Errors
    /// When it is something else.
    pub fn receive(socket: &OwnedFd) -> io::Result<Option<Self>> {
        let mut frame = [0; 8];
        let received = descriptors::receive_with(socket.as_fd(), &mut frame)?;
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "no word of a keeper");
        let pid = frame.get(..received.len).and_then(|bytes| bytes.try_into().ok());
        let pid = u32::from_le_bytes(pid.ok_or_else(odd)?);
        match (pid, received.descriptors.into_iter().next()) {
            (0, None) => Ok(None),
            (1.., Some(socket)) => Ok(Some(Self { socket, pid })),
            _ => Err(odd()),
        }
    }
}

/// What a vault's keeper comes from, and what it may start anew.
#[derive(Debug, Default)]
pub struct Lineage {
    /// The configuration of this program, if it may be followed by another; absolute.
    pub config: Option<PathBuf>,
    /// The keeper that was started for this program, and need not ask for a passphrase.
    pub keeper: Option<HandedKeeper>,
}

impl Vault {
    /// Has the program started anew, by the keeper, which alone can; the socket to it, whose other
    /// end is its standard input. Blocks for up to [`bounds::VAULT_WORK_DEADLINE`].
    ///
    /// # Errors
    /// [`VaultError::Start`], and [`VaultError::Gone`] without a keeper.
    pub fn begin_anew(&self) -> Result<OwnedFd, VaultError> {
        self.link().begin_anew()
    }
}
