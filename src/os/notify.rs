//! What the service manager is told: ready, reloading, stopping, alive (sd_notify(3)).
//!
//! Without `NOTIFY_SOCKET` every call does nothing, so nobody has to ask whether there is a service
//! manager. The socket is connected once, before any wall, and also where its name is abstract.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The line to the service manager.
#[derive(Debug)]
pub struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// Connects to the socket that `NOTIFY_SOCKET` names, if there is one.
    ///
    /// # Errors
    /// When the variable is set but nobody listens there.
    pub fn from_environment() -> io::Result<Self> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::to(&name),
            Some(_) | None => Ok(Self(None)),
        }
    }

    /// Tells nobody.
    pub const fn silent() -> Self {
        Self(None)
    }

    /// Connects to `name`: a path, or an abstract name that begins with `@`.
    fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes().split_first() {
            Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
            Some(_) | None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A stuck service manager must not hold up the house; a lost message is not a fault here.
        socket.set_nonblocking(true)?;
        Ok(Self(Some(socket)))
    }

    /// Whether anybody listens.
    pub const fn is_connected(&self) -> bool {
        self.0.is_some()
    }

    /// Start-up, or the reload announced before, is complete; `status` is shown by
    /// `systemctl status`.
    ///
    /// # Errors
    /// When the message cannot be sent.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        let status = one_line(status);
        self.send(&[NotifyState::Ready, NotifyState::Status(&status)])
    }

    /// A reload begins; [`Self::ready`] ends it, whether or not it changed anything.
    ///
    /// # Errors
    /// When the message cannot be sent.
    pub fn reloading(&self) -> io::Result<()> {
        // Type=notify-reload (systemd 253) insists on the time; others ignore it.
        self.send(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    /// The end begins.
    ///
    /// # Errors
    /// When the message cannot be sent.
    pub fn stopping(&self, status: &str) -> io::Result<()> {
        let status = one_line(status);
        self.send(&[NotifyState::Stopping, NotifyState::Status(&status)])
    }

    /// Another process is the main one from now on, and alone is heard.
    ///
    /// # Errors
    /// When the message cannot be sent.
    pub fn main_process(&self, pid: u32) -> io::Result<()> {
        self.send(&[NotifyState::MainPid(pid)])
    }

    /// The house is alive. To be sent at least every [`watchdog_interval`].
    ///
    /// # Errors
    /// When the message cannot be sent.
    pub fn alive(&self) -> io::Result<()> {
        self.send(&[NotifyState::Watchdog])
    }

    /// Asks for `more` time before the service manager gives up waiting for the present step.
    ///
    /// # Errors
    /// When the message cannot be sent.
    pub fn extend_timeout(&self, more: Duration) -> io::Result<()> {
        let micros = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::ExtendTimeoutUsec(micros)])
    }

    fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let Some(socket) = &self.0 else { return Ok(()) };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        socket.send(message.as_bytes()).map(drop)
    }
}

/// How often [`Notifier::alive`] is due: half of what the service manager waits
/// (sd_watchdog_enabled(3)); `None` when it does not watch this process.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|whole| !whole.is_zero()).map(|whole| whole / 2)
}

/// A line break in a status would begin another assignment of the protocol.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\0'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_message_is_one_datagram_of_assignments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        notifier.ready("serving 3 sites").unwrap();
        assert_eq!(hear(&manager), "READY=1\nSTATUS=serving 3 sites\n");
        notifier.stopping("draining").unwrap();
        assert_eq!(hear(&manager), "STOPPING=1\nSTATUS=draining\n");
        notifier.alive().unwrap();
        assert_eq!(hear(&manager), "WATCHDOG=1\n");
        notifier.main_process(77).unwrap();
        assert_eq!(hear(&manager), "MAINPID=77\n");
        notifier.extend_timeout(Duration::from_secs(2)).unwrap();
        assert_eq!(hear(&manager), "EXTEND_TIMEOUT_USEC=2000000\n");
    }

    #[test]
    fn a_reload_carries_the_monotonic_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        Notifier::to(path.as_os_str()).unwrap().reloading().unwrap();
        let heard = hear(&manager);
        let micros = heard.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim();
        assert!(micros.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn a_status_cannot_smuggle_in_another_assignment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        Notifier::to(path.as_os_str()).unwrap().stopping("a\nMAINPID=1").unwrap();
        assert_eq!(hear(&manager), "STOPPING=1\nSTATUS=a MAINPID=1\n");
    }

    #[test]
    fn an_abstract_socket_is_understood() {
        let name = format!("keyward-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::to(OsStr::new(&format!("@{name}"))).unwrap().alive().unwrap();
        assert_eq!(hear(&manager), "WATCHDOG=1\n");
    }

    #[test]
    fn a_silent_notifier_succeeds_and_an_absent_manager_is_an_error() {
        Notifier::silent().ready("x").unwrap();
        assert!(!Notifier::silent().is_connected());
        assert!(Notifier::to(OsStr::new("/nonexistent/notify")).is_err());
    }
}
