//! How a connection to a server is opened, and in which version of HTTP it goes on.
//!
//! Connections that are there already are the business of `origin`.

use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::uri::Authority;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::body::UpBody;
use super::link::Shared;
use super::target::Speech;
use super::target::Target;
use super::trusting::Secure;
use super::worker::Worker;
use crate::base::bounds::H1_BUFFER;
use crate::base::bounds::HEAD_BYTES;
use crate::base::bounds::HEAD_FIELDS;
use crate::base::bounds::origins::SHARED_PING;
use crate::base::bounds::origins::SHARED_PONG;
use crate::base::bounds::origins::SHARED_SEND_BUFFER;
use crate::base::bounds::origins::SHARED_STREAM_WINDOW;
use crate::base::bounds::origins::SHARED_STREAMS;
use crate::base::bounds::origins::SHARED_WINDOW;
use crate::config::Address;

/// Why there is no connection to an origin.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("origin cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("origin's certificate cannot be checked")]
    Unchecked,
    #[error("origin does not speak HTTP/2")]
    NoHttp2,
    #[error("origin did not accept in time")]
    Timeout,
    #[error("origin connection failed: {0}")]
    Http(#[from] hyper::Error),
}

/// What was opened.
pub(super) enum Opened {
    Alone(http1::SendRequest<UpBody>),
    Shared(Rc<Shared>),
}

/// A new connection to `target`, which is to be spoken with as `speech` says.
pub(super) async fn connect(
    worker: &Worker,
    target: &Target,
    speech: Speech,
) -> Result<Opened, ConnectError> {
    let limit = worker.set().limits.connect_timeout;
    let late = |_| ConnectError::Timeout;
    match target.address() {
        Address::Http(authority) | Address::H2c(authority) => {
            let stream = timeout(limit, dial(authority)).await.map_err(late)??;
            speak(worker, stream, speech == Speech::Two).await
        }
        Address::Https(authority) => {
            let Some(Secure { config: Some(config), name }) = target.secure() else {
                return Err(ConnectError::Unchecked);
            };
            let connector = TlsConnector::from(Arc::clone(config));
            let connecting = async {
                let stream = dial(authority).await?;
                connector.with_alpn(offers(speech)).connect(name.clone(), stream).await
            };
            let stream = timeout(limit, connecting).await.map_err(late)??;
            let two = stream.get_ref().1.alpn_protocol() == Some(H2);
            if speech == Speech::Two && !two {
                return Err(ConnectError::NoHttp2);
            }
            speak(worker, stream, two).await
        }
        Address::Unix(path) => {
            let stream = timeout(limit, UnixStream::connect(path)).await.map_err(late)??;
            speak(worker, stream, speech == Speech::Two).await
        }
    }
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

async fn dial(authority: &Authority) -> io::Result<TcpStream> {
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    // The configuration has it always.
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Begins to speak HTTP/2, if `two`, else HTTP/1.1.
async fn speak<S>(worker: &Worker, stream: S, two: bool) -> Result<Opened, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let opened = if two { Opened::Shared(speak_two(io).await?) } else { speak_one(io).await? };
    worker.counters.origin_connections.up();
    Ok(opened)
}

async fn speak_one<S>(io: TokioIo<S>) -> Result<Opened, ConnectError>
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
    Ok(Opened::Alone(sender))
}

async fn speak_two<S>(io: TokioIo<S>) -> Result<Rc<Shared>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = http2::Builder::new(Here);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(SHARED_STREAM_WINDOW)
        .initial_connection_window_size(SHARED_WINDOW)
        .initial_max_send_streams(usize::try_from(SHARED_STREAMS).unwrap_or(1))
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
    Ok(Shared::new(sender, move || {
        let connection = asked.upgrade();
        let room = connection
            .as_ref()
            .and_then(|connection| Some(connection.try_borrow().ok()?.current_max_send_streams()));
        room.unwrap_or(0)
    }))
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        drop(tokio::task::spawn_local(task));
    }
}
