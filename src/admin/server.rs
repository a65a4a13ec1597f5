//! From the socket to the house: accepts, looks at the peer, and serves HTTP/1.1 under limits.
//!
//! Every connection is a task of its own and costs nobody else anything when it sends garbage or
//! nothing. What a request means is the business of `routes`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Access;
use super::access::Peer;
use super::bind::Bound;
use super::handover;
use super::house::House;
use super::patience::Patient;
use super::routes;
use super::routes::Desk;
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
    bound: Bound,
    house: Arc<dyn House>,
    tasks: TaskSet,
    stop: CancellationToken,
) -> std::io::Result<()> {
    bound.listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(bound.listener.try_clone()?)?;
    let room = Arc::new(Semaphore::new(bounds::ADMIN_CONNECTIONS));
    let desk = Desk::new(house, tasks.clone(), stop.clone());
    let router = routes::router(desk.clone());
    loop {
        // A place first: further clients wait in the kernel's queue, not in our memory.
        let place = tokio::select! {
            place = Arc::clone(&room).acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let Ok(place) = place else { break };
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
        let access = bound.access.clone();
        let (desk, router) = (desk.clone(), router.clone());
        let stop = stop.clone();
        tasks.job("admin connection", async move {
            connection(stream, access, (desk, router), stop).await;
            drop(place);
        });
    }
    drop(bound);
    Ok(())
}

async fn connection(
    stream: UnixStream,
    access: Access,
    (desk, router): (Desk, Router),
    stop: CancellationToken,
) {
    let peer = match stream.peer_cred() {
        Ok(cred) => Peer { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() },
        Err(error) => {
            tracing::debug!(reason = %error, "the peer of a connection is unknown");
            return;
        }
    };
    let caller = access.caller(peer).await;
    if caller.is_none() {
        tracing::warn!(peer.uid, peer.gid, "a peer was refused on the admin socket");
    }
    if let Some(caller) = &caller {
        let handed_over = tokio::select! {
            begins = handover::begins(&stream) => begins,
            () = stop.cancelled() => return,
        };
        if handed_over {
            return handover::serve(stream, caller.clone(), &desk).await;
        }
    }
    let router = if caller.is_some() { router } else { routes::refusal(peer) };
    let service = service_fn(move |mut request: Request<Incoming>| {
        let router = router.clone();
        if let Some(caller) = &caller {
            request.extensions_mut().insert(caller.clone());
        }
        async move { Ok::<_, Infallible>(answer(router, request).await) }
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
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(reason = %error, peer.uid, "a connection to the admin socket broke");
    }
}

async fn answer(router: Router, request: Request<Incoming>) -> http::Response<Body> {
    match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
