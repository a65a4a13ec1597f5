//! Plain-HTTP origins for tests, each on a thread and a port of its own.
//!
//! | path | what it does |
//! |---|---|
//! | `/head` | answers with the request line and the fields it got, one a line |
//! | `/bytes/N` | answers with N bytes, streamed |
//! | `/count` | takes the body and answers with its length |
//! | `/drip/N/MS` | answers with N bytes, one every MS milliseconds, no length |
//! | `/silent` | never answers |
//! | `/stall` | sends the head and half of a body, then nothing |
//! | `/drop` | closes the connection without an answer |
//! | `/early` | answers 425 to what may be a repetition, `ok` to the rest |
//! | `/hop` | answers with hop-by-hop fields and a Strict-Transport-Security of its own |
//! | `/last` | answers properly, and closes the connection without having said so |
//! | anything else | answers `ok` |
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of the kit")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::large_futures,
    reason = "in a test a panic is the report, and the runtime is the test's own"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::Runtime;
use tokio::time::Sleep;

/// A running origin; dropping it closes its port and its connections.
pub struct Origin {
    pub address: SocketAddr,
    /// Requests that reached it.
    pub requests: Arc<AtomicUsize>,
    /// Connections that reached it.
    pub connections: Arc<AtomicUsize>,
    /// Method and target of the last request, of an origin with the table above.
    line: Arc<Mutex<String>>,
    runtime: Option<Runtime>,
}

type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Origin {
    /// An origin with the paths of the table above.
    pub fn start() -> Self {
        let line = Arc::<Mutex<String>>::default();
        let noted = Arc::clone(&line);
        let mut origin = Self::with(move |stream, requests| {
            Box::pin(serve(stream, requests, Arc::clone(&noted)))
        });
        origin.line = line;
        origin
    }

    /// An origin that echoes WebSocket messages and counts the handshakes as requests.
    pub fn websocket() -> Self {
        Self::with(|stream, requests| {
            Box::pin(async move {
                use futures_util::{SinkExt as _, StreamExt as _};
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                requests.fetch_add(1, Ordering::SeqCst);
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            })
        })
    }

    /// An origin that answers the first request of a connection, and hangs up at the second.
    pub fn fickle() -> Self {
        Self::with(|mut stream, requests| {
            Box::pin(async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut buffer = [0; 16 * 1024];
                if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.read(&mut buffer).await;
                }
            })
        })
    }

    /// An origin that answers as soon as it sees a head; after one of a POST it waits for the body
    /// and answers no more.
    pub fn hasty() -> Self {
        Self::with(|mut stream, requests| {
            Box::pin(async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let (mut buffer, mut posted) = ([0; 16 * 1024], false);
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    if !posted && buffer[..read].windows(5).any(|w| w == b"HTTP/") {
                        requests.fetch_add(1, Ordering::SeqCst);
                        posted = buffer.starts_with(b"POST");
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        let _ = stream.write_all(answer).await;
                    }
                }
            })
        })
    }

    /// The same as [`Origin::start`] on a Unix socket, which is made at `path`; it has no address.
    pub fn on_socket(path: &std::path::Path) -> Self {
        let runtime = runtime();
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (requests, connections) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, accepted) = (Arc::clone(&requests), Arc::clone(&connections));
        let line = Arc::<Mutex<String>>::default();
        let noted = Arc::clone(&line);
        runtime.spawn(async move {
            let listener = UnixListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                tokio::task::spawn(serve(stream, Arc::clone(&counted), Arc::clone(&noted)));
            }
        });
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { address, requests, connections, line, runtime: Some(runtime) }
    }

    fn with(handler: impl Fn(TcpStream, Arc<AtomicUsize>) -> Handling + Send + 'static) -> Self {
        let runtime = runtime();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, accepted) = (Arc::clone(&requests), Arc::clone(&connections));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                tokio::task::spawn(handler(stream, Arc::clone(&counted)));
            }
        });
        let line = Arc::default();
        Self { address, requests, connections, line, runtime: Some(runtime) }
    }

    /// Requests so far.
    pub fn seen(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Method and target of the last request.
    pub fn last(&self) -> String {
        self.line.lock().unwrap().clone()
    }

    /// Connections so far.
    pub fn connected(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("origin")
        .enable_all()
        .build()
        .unwrap()
}

/// A body that makes itself: so many bytes, in pieces, with pauses, perhaps never ending.
struct Made {
    left: usize,
    piece: Bytes,
    pause: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    known: bool,
    hang: bool,
}

impl Body for Made {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return if self.hang { Poll::Pending } else { Poll::Ready(None) };
        }
        if let Some(pause) = self.pause {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
        let size = self.left.min(self.piece.len());
        self.left -= size;
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..size)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match (self.known, self.hang) {
            (true, false) => http_body::SizeHint::with_exact(self.left as u64),
            (true, true) => http_body::SizeHint::with_exact(self.left as u64 + 10),
            _ => http_body::SizeHint::default(),
        }
    }
}

type Answer = http_body_util::combinators::BoxBody<Bytes, Infallible>;

fn made(left: usize, piece: usize, pause: Option<Duration>, known: bool, hang: bool) -> Answer {
    let piece = Bytes::from(vec![b'x'; piece]);
    Made { left, piece, pause, timer: None, known, hang }.boxed()
}

fn text(text: impl Into<Bytes>) -> Answer {
    Full::new(text.into()).boxed()
}

async fn serve<S>(stream: S, requests: Arc<AtomicUsize>, line: Arc<Mutex<String>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let leave = Arc::new(tokio::sync::Notify::new());
    let leaving = Arc::clone(&leave);
    let service = service_fn(move |request: Request<Incoming>| {
        *line.lock().unwrap() = format!("{} {}", request.method(), request.uri());
        let (requests, leave) = (Arc::clone(&requests), Arc::clone(&leaving));
        async move {
            requests.fetch_add(1, Ordering::SeqCst);
            answer(request, &leave).await
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        () = async { leave.notified().await; tokio::time::sleep(Duration::from_millis(30)).await } => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    leave: &tokio::sync::Notify,
) -> Result<Response<Answer>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let kind = parts.next().unwrap_or_default();
    let mut number = || parts.next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    let mut response = Response::new(text("ok"));
    match kind {
        "head" => {
            let mut seen =
                format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
            for (name, value) in request.headers() {
                seen.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
            }
            let body = request.into_body().collect().await.map_err(std::io::Error::other)?;
            if let Some(trailers) = body.trailers() {
                seen.push_str(&format!("trailers: {trailers:?}\n"));
            }
            seen.push_str(&format!("\n{}", String::from_utf8_lossy(&body.to_bytes())));
            *response.body_mut() = text(seen);
        }
        "bytes" => *response.body_mut() = made(number(), 65536, None, true, false),
        "drip" => {
            let (count, pause) = (number(), Duration::from_millis(number() as u64));
            *response.body_mut() = made(count, 1, Some(pause), false, false);
        }
        "stall" => *response.body_mut() = made(10, 10, None, true, true),
        "count" => {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(std::io::Error::other)?;
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            *response.body_mut() = text(count.to_string());
        }
        "silent" => std::future::pending().await,
        "drop" => return Err(std::io::Error::other("asked to")),
        "early" if request.headers().contains_key("early-data") => {
            *response.status_mut() = http::StatusCode::TOO_EARLY;
            *response.body_mut() = text("the origin wants to be sure");
        }
        "last" => leave.notify_one(),
        "hop" => {
            for (name, value) in [
                ("connection", "x-private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=9"),
                ("proxy-authenticate", "Basic"),
                ("strict-transport-security", "max-age=1"),
                ("server", "the-origin"),
                ("x-public", "1"),
            ] {
                let name = http::HeaderName::from_static(name);
                response.headers_mut().append(name, http::HeaderValue::from_static(value));
            }
        }
        _ => {}
    }
    Ok(response)
}
