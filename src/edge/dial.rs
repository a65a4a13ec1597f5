//! How a connection to a server is opened, and in which version of HTTP it goes on.
//!
//! Connections that are there already are the business of `origin`.

use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::uri::Authority;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::body::UpBody;
use super::link::Shared;
use super::link::UNSAID;
use super::target::Reach;
use super::target::Speech;
use super::target::bare;
use super::trusting::Secure;
use crate::base::bounds::H1_BUFFER;
use crate::base::bounds::HEAD_BYTES;
use crate::base::bounds::HEAD_FIELDS;
use crate::base::bounds::origins::NEXT_ADDRESS;
use crate::base::bounds::origins::SHARED_PING;
use crate::base::bounds::origins::SHARED_PONG;
use crate::base::bounds::origins::SHARED_SEND_BUFFER;
use crate::base::bounds::origins::SHARED_STREAM_WINDOW;
use crate::base::bounds::origins::SHARED_WINDOW;
use crate::config::Address;

/// Why there is no connection to an origin.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("origin cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("origin's host has no address: {0}")]
    Unknown(Arc<str>),
    #[error("origin's certificate cannot be checked")]
    Unchecked,
    #[error("origin does not speak HTTP/2")]
    NoHttp2,
    #[error("origin did not accept in time")]
    Timeout,
    #[error("origin connection failed: {0}")]
    Http(#[from] hyper::Error),
}

/// What was opened; without TLS and sockets, with the address at its other end.
pub(super) enum Opened {
    Alone(http1::SendRequest<UpBody>, Option<IpAddr>),
    Shared(Rc<Shared>),
}

/// A new connection, which begins with `header` and is to be spoken on as `speech` says, within `limit`.
pub(super) async fn connect(
    reach: &Reach,
    speech: Speech,
    limit: Duration,
    header: &[u8],
) -> Result<Opened, ConnectError> {
    let late = |_| ConnectError::Timeout;
    match &reach.address {
        Address::Http(authority) | Address::H2c(authority) => {
            let connecting = async {
                let (mut stream, peer) = dial(reach, authority).await?;
                begin(&mut stream, header).await?;
                Ok::<_, ConnectError>((stream, peer))
            };
            let (stream, peer) = timeout(limit, connecting).await.map_err(late)??;
            speak(stream, peer, speech == Speech::Two).await
        }
        Address::Https(authority) => {
            let Some(Secure { config: Some(config), name }) = &reach.secure else {
                return Err(ConnectError::Unchecked);
            };
            let connector = TlsConnector::from(Arc::clone(config));
            let connecting = async {
                let (mut stream, peer) = dial(reach, authority).await?;
                begin(&mut stream, header).await?;
                let secured = connector.with_alpn(offers(speech)).connect(name.clone(), stream);
                Ok::<_, ConnectError>((secured.await?, peer))
            };
            let (stream, peer) = timeout(limit, connecting).await.map_err(late)??;
            let two = stream.get_ref().1.alpn_protocol() == Some(H2);
            if speech == Speech::Two && !two {
                return Err(ConnectError::NoHttp2);
            }
            speak(stream, peer, two).await
        }
        Address::Unix(path) => {
            let connecting = async {
                let mut stream = UnixStream::connect(path).await?;
                begin(&mut stream, header).await?;
                Ok::<_, ConnectError>(stream)
            };
            let stream = timeout(limit, connecting).await.map_err(late)??;
            speak(stream, None, speech == Speech::Two).await
        }
    }
}

/// Says first what the server is told before anything else, TLS included.
async fn begin(stream: &mut (impl AsyncWrite + Unpin), header: &[u8]) -> io::Result<()> {
    if header.is_empty() { Ok(()) } else { stream.write_all(header).await }
}

const H2: &[u8] = b"h2";

/// What is offered in the handshake (RFC 7301). Nothing is HTTP/1.1 with every server.
fn offers(speech: Speech) -> Vec<Vec<u8>> {
    match speech {
        Speech::One => Vec::new(),
        Speech::Two => vec![H2.to_vec()],
        Speech::Either => vec![H2.to_vec(), b"http/1.1".to_vec()],
    }
}

/// A connection to one of the addresses of a host, and which one it is.
pub(super) async fn dial(
    reach: &Reach,
    authority: &Authority,
) -> Result<(TcpStream, Option<IpAddr>), ConnectError> {
    // The configuration has it always.
    let port = authority.port_u16().unwrap_or(80);
    let stream = match &reach.found {
        Some(found) => {
            let known = found.get().await.map_err(ConnectError::Unknown)?;
            race(order(&known, fastrand::usize(..)), port).await?
        }
        None => TcpStream::connect((bare(authority), port)).await?,
    };
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr().ok().map(|peer| peer.ip());
    Ok((stream, peer))
}

/// The addresses in the order in which they are tried: from a drawn one on, so that each gets its
/// part, and both families in turn, as one of them may lead nowhere.
fn order(known: &[IpAddr], drawn: usize) -> Vec<IpAddr> {
    let start = drawn.checked_rem(known.len()).unwrap_or(0);
    let (before, from) = known.split_at_checked(start).unwrap_or((&[], known));
    let sixth = from.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        from.iter().chain(before).copied().partition(|address| address.is_ipv6() == sixth);
    let most = first.len().max(second.len());
    let turn = |number: usize| [first.get(number), second.get(number)];
    (0..most).flat_map(turn).flatten().copied().collect()
}

/// The first of them to which there is a connection. The next one is tried when one has failed, or
/// has not said anything for a while (RFC 8305, section 5).
async fn race(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let mut tries = JoinSet::new();
    loop {
        if let Some(address) = waiting.next() {
            tries.spawn_local(TcpStream::connect((address, port)));
        }
        let head_start = sleep(NEXT_ADDRESS);
        tokio::select! {
            ended = tries.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                // None of them panics, or is given up before all are.
                Some(Err(_)) => {}
                None => return Err(last),
            },
            () = head_start, if waiting.len() > 0 => {}
        }
    }
}

/// Begins to speak HTTP/2, if `two`, else HTTP/1.1.
async fn speak<S>(stream: S, peer: Option<IpAddr>, two: bool) -> Result<Opened, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    if two { speak_two(io, peer).await } else { speak_one(io, peer).await }
}

async fn speak_one<S>(io: TokioIo<S>, peer: Option<IpAddr>) -> Result<Opened, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(H1_BUFFER);
    // hyper's own default is the same number and needs no allocation for each answer.
    if HEAD_FIELDS != 100 {
        builder.max_headers(HEAD_FIELDS);
    }
    let (sender, connection) = builder.handshake(io).await?;
    drop(tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(reason = %error, "origin connection ended");
        }
    }));
    Ok(Opened::Alone(sender, peer))
}

async fn speak_two<S>(io: TokioIo<S>, peer: Option<IpAddr>) -> Result<Opened, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = http2::Builder::new(Here);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(SHARED_STREAM_WINDOW)
        .initial_connection_window_size(SHARED_WINDOW)
        .initial_max_send_streams(UNSAID)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .max_send_buf_size(SHARED_SEND_BUFFER)
        .keep_alive_interval(SHARED_PING)
        .keep_alive_timeout(SHARED_PONG);
    let (sender, connection) = builder.handshake(io).await?;
    // The task drives it, and whoever looks for a stream asks it how many there may be.
    let connection = Rc::new(RefCell::new(connection));
    let asked = Rc::downgrade(&connection);
    drop(tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| match connection.try_borrow_mut() {
            Ok(mut connection) => Pin::new(&mut *connection).poll(cx),
            // Nobody borrows it for longer than a call.
            Err(_) => Poll::Pending,
        });
        if let Err(error) = ended.await {
            tracing::debug!(reason = %error, "origin connection ended");
        }
    }));
    Ok(Opened::Shared(Shared::new(sender, peer, move || {
        let connection = asked.upgrade();
        let room = connection
            .as_ref()
            .and_then(|connection| Some(connection.try_borrow().ok()?.current_max_send_streams()));
        room.unwrap_or(0)
    })))
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        drop(tokio::task::spawn_local(task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_address_is_a_drawn_one() {
        let known: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1", "::2"]
            .map(|address| address.parse().unwrap())
            .into();
        let told = |drawn| {
            order(&known, drawn).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(0), "10.0.0.1 ::1 10.0.0.2 ::2 10.0.0.3");
        assert_eq!(told(7), "10.0.0.3 ::1 10.0.0.1 ::2 10.0.0.2");
        assert_eq!(told(4), "::2 10.0.0.1 ::1 10.0.0.2 10.0.0.3");
        assert!(order(&[], 3).is_empty());
    }
}
