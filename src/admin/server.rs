//! From the socket to the house: accepts, looks at the peer, and serves HTTP/1.1 under limits.
//!
//! Every connection is a task of its own and costs nobody else anything when it sends garbage or
//! nothing: each takes from the share of whose it is. What a request means is the business of `routes`,
//! and who asks that of `gate`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::access::Seen;
use super::bind::Bound;
use super::follow;
use super::gate;
use super::gate::Gate;
use super::handover;
use super::house::House;
use super::patience::Patient;
use super::routes;
use super::routes::Desk;
use super::shares::Hold;
use super::shares::Party;
use super::shares::Shares;
use super::shares::What;
use crate::base::bounds;
use crate::base::tasks::TaskSet;

/// Pause after the kernel had no descriptor left for a connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Serves `house` on `bound` until `stop`; then open requests end, followers of the journal are
/// let go, and the path is removed. Must run inside a runtime; `tasks` gets one job for each
/// connection.
///
/// # Errors
/// When the listener cannot be given to the runtime.
pub async fn serve(
    mut bound: Bound,
    house: Arc<dyn House>,
    tasks: TaskSet,
    stop: CancellationToken,
) -> io::Result<()> {
    bound.listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(bound.listener.try_clone()?)?;
    let shares = Shares::new(bound.share());
    let desk = Desk::new(house, shares.clone(), tasks.clone(), stop.clone());
    let door = Door {
        gate: Gate { access: bound.access.clone(), shares, desk: desk.clone() },
        router: routes::router(desk.clone()),
        room: Arc::new(Semaphore::new(bounds::ADMIN_CONNECTIONS)),
        stop: stop.clone(),
    };
    if let Some(configs) = bound.configs.take() {
        let following = follow::Following::begin(configs, &bound, &door.gate).await;
        let ending = stop.clone();
        tasks.job("admin clients", async move { following.go_on(ending).await });
    }
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(reason = %error, "a connection could not be accepted");
                    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let seen = match Seen::of(&stream).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::debug!(reason = %error, "the peer of a connection is unknown");
                continue;
            }
        };
        // Whoever has too many is told so here, and costs no task and no memory.
        match door.gate.shares.take(&party(&door.gate.access, &seen), What::Connection) {
            Ok(place) => {
                let door = door.clone();
                tasks.job("admin connection", door.connection(stream, seen, place));
            }
            Err(used_up) => gate::turn_away(&stream, &used_up),
        }
    }
    drop(bound);
    Ok(())
}

fn party(access: &Access, seen: &Seen) -> Party {
    match access.caller(seen) {
        Some(caller) => Party::of(&caller),
        None => Party::Stranger(seen.peer.uid),
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Door {
    gate: Gate,
    router: Router,
    /// Operators beyond wait; others have less than that.
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Door {
    async fn connection(self, stream: UnixStream, seen: Seen, place: Hold) {
        let _place = place;
        let known = self.gate.access.caller(&seen);
        let _room = match known.as_ref().map(Party::of) {
            Some(Party::Operators) => tokio::select! {
                room = Arc::clone(&self.room).acquire_owned() => room.ok(),
                () = self.stop.cancelled() => return,
            },
            Some(_) => None,
            None => {
                let peer = seen.peer;
                tracing::debug!(peer.uid, peer.gid, "a stranger is on the admin socket");
                None
            }
        };
        if let Some(caller) = known {
            let handed_over = tokio::select! {
                begins = handover::begins(&stream) => begins,
                () = self.stop.cancelled() => return,
            };
            if handed_over {
                let taken = self.gate.shares.take(&Party::of(&caller), What::Request);
                return handover::serve(stream, caller, taken, &self.gate.desk).await;
            }
        }
        let (uid, gate, router) = (seen.peer.uid, self.gate, self.router);
        let seen = Arc::new(seen);
        let service = service_fn(move |request: Request<Incoming>| {
            let (gate, seen, router) = (gate.clone(), Arc::clone(&seen), router.clone());
            async move { Ok::<_, Infallible>(gate.answer(router, &seen, request).await) }
        });
        let stream = Patient::new(stream, bounds::ADMIN_WRITE_DEADLINE);
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(bounds::ADMIN_HEAD_DEADLINE)
            .max_buf_size(bounds::ADMIN_HEAD);
        let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(reason = %error, peer.uid = uid, "a connection to the admin socket broke");
        }
    }
}
