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

/// A handshake that was let in, until it is over. Dropped before, it counts as not finished.
pub(super) struct Admitted<'a> {
    worker: &'a Worker,
    network: Network,
    class: Class,
    spent: Duration,
    resumed: bool,
}

impl<'a> Admitted<'a> {
    /// Lets a client of `network` in, which brings a good ticket or not; `None` when it is turned
    /// away, which is counted.
    pub(super) fn ask(worker: &'a Worker, network: Network, ticket: bool) -> Option<Self> {
        let now = Instant::now();
        let (class, answer) = {
            let crowd = worker.crowd.borrow();
            let class = crowd.class(network, ticket, now);
            (class, crowd.admit(class, network, &worker.set().limits, now))
        };
        match answer {
            Ok(()) => Some(Self::always(worker, network, class)),
            Err(away) => {
                worker.turn_away(away, network);
                None
            }
        }
    }

    /// Without asking. For challenges: the CA comes from many networks, once to each name that is
    /// being ordered, and a renewal is not to fail in a flood.
    pub(super) fn unasked(worker: &'a Worker, network: Network) -> Self {
        Self::always(worker, network, Class::Full)
    }

    fn always(worker: &'a Worker, network: Network, class: Class) -> Self {
        worker.crowd.borrow_mut().begin(class);
        Self { worker, network, class, spent: Duration::ZERO, resumed: false }
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
        self.resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(stream)
    }

    /// The same with a client who may speak before it is done; what is left then costs little.
    pub(super) async fn shake_early(
        mut self,
        start: Box<StartHandshake<TcpStream>>,
        config: Arc<ServerConfig>,
    ) -> io::Result<EarlyStream> {
        let stream = self.timed(Box::pin(together(EarlyStream::begin(*start, config)))).await?;
        self.resumed = stream.session().handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(stream)
    }

    async fn timed<T>(&mut self, mut shaking: Pin<Box<impl Future<Output = T>>>) -> T {
        poll_fn(|cx| {
            let begun = Instant::now();
            let polled = shaking.as_mut().poll(cx);
            let now = Instant::now();
            self.note(settled(now.saturating_duration_since(begun)), now);
            polled
        })
        .await
    }

    fn note(&mut self, time: Duration, now: Instant) {
        self.spent += time;
        self.worker.crowd.borrow_mut().spent(self.class, self.network, time, now);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let mut crowd = self.worker.crowd.borrow_mut();
        crowd.finish(self.class);
        if self.class == Class::Returning && !self.resumed {
            let now = Instant::now();
            self.worker.counters.false_tickets.up();
            crowd.false_ticket(self.network, now);
            // It was a full one after all.
            crowd.spent(Class::Full, self.network, self.spent, now);
        }
    }
}
