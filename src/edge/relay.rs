//! Connections that leave HTTP: after a 101 the bytes pass both ways unseen.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, sleep_until};

use super::body::AnswerBody;
use super::connection::Client;
use super::headers;
use super::origin::Turn;
use super::serving::ServedSite;
use super::tunnel::Tunnel;
use crate::base::bounds::RELAY_BUFFER;

/// The 101 for the client, or the 200 for one on HTTP/2; once it is sent, bytes pass between the two
/// until both have ended, or neither has said anything for `idle`.
pub(super) fn switch(
    client: &Rc<Client>,
    site: &ServedSite,
    response: Response<Incoming>,
    (ours, theirs): (OnUpgrade, OnUpgrade),
    turn: Turn,
    idle: Duration,
) -> Response<AnswerBody> {
    // On HTTP/2 it is one stream of many.
    let alone = !client.is_shared();
    if alone {
        client.pulse.give_away();
    }
    client.worker.counters.upgrades.up();
    let (mut parts, _) = response.into_parts();
    let protocol = parts.headers.get(UPGRADE).cloned();
    parts.extensions.clear();
    headers::to_client(&mut parts.headers, site, parts.version);
    if alone {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(UPGRADE, protocol);
        }
    } else {
        Tunnel::through(&mut parts);
    }
    let place = alone.then(|| client.worker.stay(client.peer_address.ip()));
    let occupied = (!alone).then(|| client.occupy());
    drop(tokio::task::spawn_local(async move {
        if let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) {
            relay(ours, theirs, idle).await;
        }
        drop((place, occupied, turn));
    }));
    Response::from_parts(parts, AnswerBody::ready(Bytes::new()))
}

async fn relay(ours: Upgraded, theirs: Upgraded, idle: Duration) {
    let last = Rc::new(Cell::new(Instant::now()));
    let mut ours = Noted { io: TokioIo::new(ours), last: Rc::clone(&last) };
    let mut theirs = TokioIo::new(theirs);
    let copying = copy_bidirectional_with_sizes(&mut ours, &mut theirs, RELAY_BUFFER, RELAY_BUFFER);
    let silence = async {
        while last.get() + idle > Instant::now() {
            sleep_until(last.get() + idle).await;
        }
    };
    tokio::select! {
        result = copying => {
            if let Err(error) = result {
                tracing::debug!(reason = %error, "upgraded connection ended");
            }
        }
        () = silence => tracing::debug!("upgraded connection was silent too long"),
    }
}

/// Notes when bytes have passed. Both directions pass the client's side.
struct Noted<T> {
    io: T,
    last: Rc<Cell<Instant>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.last.set(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.last.set(Instant::now());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
