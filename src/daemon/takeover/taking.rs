//! The new process: what it is given, and when it may go on.
//!
//! Everything here blocks: nothing else is to be done while it waits. Deliberately absent: what a
//! process does that follows nobody, which is the same from there on.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;

use super::Line;
use super::Silence;
use super::Word;
use crate::base::bounds;
use crate::base::crash;
use crate::cli::Failed;
use crate::edge::Http3Left;
use crate::os::descriptors;
use crate::os::inherit::Sockets;
use crate::vault::HandedKeeper;

/// Where a new process stands.
#[derive(Debug)]
pub(in crate::daemon) struct Legacy {
    line: Line,
    /// The keeper that knows the passphrase.
    pub(in crate::daemon) keeper: Option<HandedKeeper>,
    sockets: Sockets,
    http3: Http3Left,
    /// Where the old one's own admin socket is.
    admin: Option<PathBuf>,
}

/// The old process, when it has nothing left to give.
#[derive(Debug)]
pub(in crate::daemon) struct Former(Line);

/// What comes of having served first.
#[derive(Debug)]
pub(in crate::daemon) enum Verdict {
    /// This is the main process; those before it.
    Main(Vec<Line>),
    /// The old one goes on.
    NeverMind,
}

impl Legacy {
    /// What the old process has left, by way of standard input. First thing in `main`.
    ///
    /// # Errors
    /// When nobody is there, or it is not understood.
    pub(in crate::daemon) fn receive() -> Result<Self, Failed> {
        let odd = |error: &dyn std::fmt::Display| {
            Failed::unavailable(format!(
                "error: there is no process to follow: {error}\n  \
                 try: keyward upgrade, which starts this one as it should be"
            ))
        };
        let socket = descriptors::take_stdin().map_err(|error| odd(&error))?;
        descriptors::set_deadline(socket.as_fd(), bounds::takeover::WORD)
            .map_err(|error| odd(&error))?;
        let keeper = HandedKeeper::receive(&socket).map_err(|error| odd(&error))?;
        let line = Line(socket);
        let (mut all, mut place) = (Vec::new(), None);
        loop {
            let (word, along) = line.hear(bounds::takeover::WORD).map_err(|error| odd(&error))?;
            let Word::Sockets { names, admin, more } = word else {
                return Err(odd(&Silence::Odd));
            };
            if names.len() != along.len() {
                return Err(odd(&Silence::Odd));
            }
            all.extend(names.into_iter().zip(along));
            place = place.or(admin);
            if !more {
                let (http3, all) = all.into_iter().partition(|(name, _)| Http3Left::has(name));
                let (http3, sockets) = (Http3Left::read(http3), Sockets::handed(all));
                let sockets = sockets.map_err(|error| odd(&error))?;
                crash::point("sockets-taken");
                return Ok(Self { line, keeper, sockets, http3, admin: place });
            }
        }
    }

    /// Tells the old process why this one ends.
    pub(in crate::daemon) fn fail(&self, report: &str) {
        tell_failure(&self.line, report);
    }

    /// The listeners called `name` that are at one of the addresses `wanted`, and the addresses
    /// that are left. The others are closed.
    pub(in crate::daemon) fn of_addresses(
        &mut self,
        name: &str,
        mut wanted: Vec<SocketAddr>,
    ) -> (Vec<TcpListener>, Vec<SocketAddr>) {
        let mut known = self.sockets.take_tcp(name).unwrap_or_default();
        let address = |listener: &TcpListener| listener.local_addr().ok();
        known.retain(|listener| address(listener).is_some_and(|a| wanted.contains(&a)));
        let open: Vec<_> = known.iter().filter_map(address).collect();
        wanted.retain(|wanted| !open.contains(wanted));
        (known, wanted)
    }

    /// Takes the old one's own admin socket, if it is at `place`.
    pub(in crate::daemon) fn admin_at(&mut self, place: &Path) -> Option<UnixListener> {
        let left = self.admin.take()?;
        let listener = self.sockets.take_unix("admin").ok()?.into_iter().next();
        listener.filter(|_| left == place)
    }

    /// What is left for HTTP/3.
    pub(in crate::daemon) fn http3(&mut self) -> Http3Left {
        std::mem::take(&mut self.http3)
    }

    /// What the service manager has opened.
    pub(in crate::daemon) fn inherited(&mut self) -> Sockets {
        std::mem::take(&mut self.sockets)
    }

    /// Everything is ready but the store: waits until the old process has closed that.
    ///
    /// # Errors
    /// When it goes on itself after all.
    pub(in crate::daemon) fn ready(self) -> Result<Former, Failed> {
        crash::point("prepared");
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let prepared = Word::Prepared { pid: std::process::id(), version };
        // One that is gone leaves the store as well.
        let _gone = self.line.say(&prepared, &[]);
        match self.line.hear(bounds::takeover::TAKING_OVER) {
            // Killed on the way: nobody serves but this one.
            Ok((Word::Yours, _)) | Err(Silence::Gone) => {
                crash::point("taken");
                Ok(Former(self.line))
            }
            Ok(_) | Err(Silence::Late | Silence::Odd) => Err(Failed::unavailable(
                "error: the process that was to be followed goes on itself",
            )),
        }
    }
}

impl Former {
    /// Tells the old process why this one ends.
    pub(in crate::daemon) fn fail(&self, report: &str) {
        tell_failure(&self.0, report);
    }

    /// This process serves, and speaks HTTP/3 at these addresses; what comes of it.
    pub(in crate::daemon) fn serving(&self, admin: bool, http3: Vec<SocketAddr>) -> Verdict {
        crash::point("serves");
        let _gone = self.0.say(&Word::Serving { admin, http3 }, &[]);
        match self.0.hear(bounds::takeover::WORD) {
            Ok((Word::Main, along)) => {
                let own = self.0.0.try_clone().map(Line);
                Verdict::Main(along.into_iter().map(Line).chain(own).collect())
            }
            // Whatever became of the old one, it does not serve.
            Err(Silence::Gone) => Verdict::Main(Vec::new()),
            Ok(_) | Err(Silence::Late | Silence::Odd) => Verdict::NeverMind,
        }
    }
}

fn tell_failure(line: &Line, report: &str) {
    let most = bounds::takeover::WORDS / 8;
    let report = report.get(..report.floor_char_boundary(most)).unwrap_or_default().to_owned();
    let _gone = line.say(&Word::Failed { report }, &[]);
}
