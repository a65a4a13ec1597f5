//! One handshake as the crowd sees it: let in or not, its time counted, its promise checked.
//!
//! Everything that costs a key exchange or a signature goes through [`Admitted::shake`].

use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::crowd::Class;
use super::early::EarlyStream;
use super::meter::Measured;
use super::meter::Meter;
use super::network::Network;
use super::worker::Worker;
use crate::vault::together::settled;
use crate::vault::together::together;

/// A handshake that was let in, and what it has cost. It is over when [`end`](Self::end) says so.
#[derive(Debug)]
pub(super) struct Weight {
    network: Network,
    class: Class,
    spent: Duration,
    resumed: bool,
}

/// A [`Weight`] that ends with its handshake. Dropped before, it counts as not finished.
pub(super) struct Admitted<'a> {
    worker: &'a Worker,
    weight: Weight,
}

impl Weight {
    /// Lets a client of `network` in, which brings a good ticket or not; `None` when it is turned
    /// away, which is counted.
    pub(super) fn ask(worker: &Worker, network: Network, ticket: bool) -> Option<Self> {
        let now = Instant::now();
        let (class, answer) = {
            let crowd = worker.crowd.borrow();
            let class = crowd.class(network, ticket, now);
            (class, crowd.admit(class, network, &worker.set().limits, now))
        };
        match answer {
            Ok(()) => Some(Self::begin(worker, network, class)),
            Err(away) => {
                worker.turn_away(away, network);
                None
            }
        }
    }

    fn begin(worker: &Worker, network: Network, class: Class) -> Self {
        worker.crowd.borrow_mut().begin(class);
        Self { network, class, spent: Duration::ZERO, resumed: false }
    }

    /// A part of it took `time`, until `now`.
    pub(super) fn note(&mut self, worker: &Worker, time: Duration, now: Instant) {
        self.spent += time;
        worker.crowd.borrow_mut().spent(self.class, self.network, time, now);
    }

    /// The client's ticket has spared the signature.
    pub(super) const fn resumed(&mut self) {
        self.resumed = true;
    }

    /// It is over, one way or another. Once.
    pub(super) fn end(&self, worker: &Worker) {
        let mut crowd = worker.crowd.borrow_mut();
        crowd.finish(self.class);
        if self.class == Class::Returning && !self.resumed {
            let now = Instant::now();
            worker.counters.false_tickets.up();
            crowd.false_ticket(self.network, now);
            // It was a full one after all.
            crowd.spent(Class::Full, self.network, self.spent, now);
        }
    }
}

impl<'a> Admitted<'a> {
    /// See [`Weight::ask`].
    pub(super) fn ask(worker: &'a Worker, network: Network, ticket: bool) -> Option<Self> {
        Weight::ask(worker, network, ticket).map(|weight| Self { worker, weight })
    }

    /// Without asking. For challenges: the CA comes from many networks, once to each name that is
    /// being ordered, and a renewal is not to fail in a flood.
    pub(super) fn unasked(worker: &'a Worker, network: Network) -> Self {
        Self { worker, weight: Weight::begin(worker, network, Class::Full) }
    }

    /// Shakes hands under `config`; `meter` has seen the client's hello.
    pub(super) async fn shake(
        mut self,
        start: Box<StartHandshake<TcpStream>>,
        meter: Meter,
        config: Arc<ServerConfig>,
    ) -> io::Result<Box<TlsStream<Measured>>> {
        let start = *start;
        let start = StartHandshake::from_parts(start.accepted, Measured::new(start.io, meter));
        // Within the future: `into_stream` itself does all up to the signature, and that is to be
        // timed, and may stop for others.
        let shaking = async move { start.into_stream(config).into_fallible().await };
        let shaking = Box::pin(together(shaking));
        let mut stream = match self.timed(shaking).await {
            Ok(stream) => Box::new(stream),
            Err((error, mut io)) => {
                io.held.let_go(&io.socket);
                return Err(error);
            }
        };
        let (io, session) = stream.get_mut();
        io.held.shaken();
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.weight.resumed();
        }
        Ok(stream)
    }

    /// The same with a client who may speak before it is done; what is left then costs little.
    pub(super) async fn shake_early(
        mut self,
        start: Box<StartHandshake<TcpStream>>,
        config: Arc<ServerConfig>,
    ) -> io::Result<EarlyStream> {
        let stream = self.timed(Box::pin(together(EarlyStream::begin(*start, config)))).await?;
        if stream.session().handshake_kind() == Some(HandshakeKind::Resumed) {
            self.weight.resumed();
        }
        Ok(stream)
    }

    async fn timed<T>(&mut self, mut shaking: Pin<Box<impl Future<Output = T>>>) -> T {
        poll_fn(|cx| {
            let begun = Instant::now();
            let polled = shaking.as_mut().poll(cx);
            let now = Instant::now();
            let time = settled(now.saturating_duration_since(begun));
            self.weight.note(self.worker, time, now);
            polled
        })
        .await
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.weight.end(self.worker);
    }
}
