//! A connection to a server, in the version of HTTP that it speaks.
//!
//! One of HTTP/1.1 is for one exchange at a time, one of HTTP/2 for many. Which connection a request
//! gets is decided in `origin`, how one is opened in `dial`.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use tokio::time::Instant;
use tokio::time::sleep;

use super::body::UpBody;
use crate::base::bounds::ORIGIN_IDLE;
use crate::base::bounds::origins::SETTLE_LOOK;
use crate::base::bounds::origins::SETTLED;
use crate::base::bounds::origins::SHARED_STREAMS;

/// A connection of which this exchange may use what it needs.
pub(super) enum Link {
    /// All of it, and the address at its other end.
    Alone(http1::SendRequest<UpBody>, Option<IpAddr>),
    /// A stream.
    Stream(Stream),
}

/// A connection of HTTP/2.
pub(super) struct Shared {
    sender: http2::SendRequest<UpBody>,
    /// The address at its other end.
    pub(super) peer: Option<IpAddr>,
    /// How many streams the server takes at a time, as it says now; [`UNSAID`] until it does.
    room: Box<dyn Fn() -> usize>,
    /// It had the time to say so.
    waited: Cell<bool>,
    /// Streams under way.
    open: Cell<u32>,
    /// When the last one ended.
    last: Cell<Instant>,
    /// The server takes no more on it.
    spent: Cell<bool>,
}

/// A limit that no server has, for as long as it has said none.
pub(super) const UNSAID: usize = 0xffff_fffe;

/// Counts a stream while it is held.
#[derive(Debug)]
pub(super) struct Stream(Rc<Shared>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} open)", self.open.get())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_shared() { "Link(HTTP/2)" } else { "Link(HTTP/1.1)" })
    }
}

impl Link {
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Sends a request that has the form of this connection's version. With an error it comes back
    /// if nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<UpBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<UpBody>>> {
        match self {
            Self::Alone(sender, _) => sender.try_send_request(request).await,
            Self::Stream(stream) => stream.0.sender.clone().try_send_request(request).await,
        }
    }

    /// No further request goes out on it, if it is one that others would share.
    pub(super) fn spend(&self) {
        if let Self::Stream(stream) = self {
            stream.0.spent.set(true);
        }
    }
}

impl Shared {
    pub(super) fn new(
        sender: http2::SendRequest<UpBody>,
        peer: Option<IpAddr>,
        room: impl Fn() -> usize + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            sender,
            peer,
            room: Box::new(room),
            waited: Cell::new(false),
            open: Cell::new(0),
            last: Cell::new(Instant::now()),
            spent: Cell::new(false),
        })
    }

    /// Whether it is worth keeping.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        let idle = self.open.get() == 0 && now.duration_since(self.last.get()) > ORIGIN_IDLE;
        !self.spent.get() && !self.sender.is_closed() && !idle
    }

    /// Whether there is a stream left. One there is while the server has not said how many it takes,
    /// as it would refuse the others; one that allows none is taken at its word by the stream that
    /// waits for it to change its mind.
    pub(super) fn has_room(&self) -> bool {
        let room = if self.is_settled() { (self.room)() } else { 1 };
        self.open.get() < u32::try_from(room).unwrap_or(u32::MAX).clamp(1, SHARED_STREAMS)
    }

    fn is_settled(&self) -> bool {
        self.waited.get() || (self.room)() != UNSAID
    }

    /// Waits until the server has said how many streams it takes, as it does first of all (RFC 9113,
    /// section 3.4), or had the time to.
    pub(super) async fn settle(&self) {
        let begun = Instant::now();
        while !self.is_settled() && !self.sender.is_closed() {
            if begun.elapsed() > SETTLED {
                self.waited.set(true);
            }
            // Nobody tells of it. Most are a moment away.
            sleep((begun.elapsed() / 4).clamp(SETTLE_LOOK, SETTLED)).await;
        }
    }

    pub(super) fn stream(self: &Rc<Self>) -> Stream {
        self.open.set(self.open.get().saturating_add(1));
        Stream(Rc::clone(self))
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.open.get() == 0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.last.set(Instant::now());
    }
}
