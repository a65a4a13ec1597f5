//! The clients of the soak: each does one thing again and again, and notes what went wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use futures_util::SinkExt as _;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use rustls::ClientConfig;
use rustls::HandshakeKind;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::load::Target;
use crate::load::connect;

/// What all of them share.
pub(crate) struct Book {
    pub(crate) target: Target,
    /// Remembers sessions.
    pub(crate) config: Arc<ClientConfig>,
    /// For the site of the house's own CA, that leads to an origin of WebSockets.
    pub(crate) internal: Arc<ClientConfig>,
    pub(crate) stop: AtomicBool,
    pub(crate) done: Mutex<BTreeMap<&'static str, usize>>,
    pub(crate) failures: Mutex<Vec<String>>,
    pub(crate) began: Instant,
    /// What was done to the daemon, and when.
    pub(crate) deeds: Mutex<Vec<(Duration, &'static str)>>,
}

/// The name of the site behind which WebSockets are.
pub(crate) const CHAT: &str = "chat.internal";

/// How long a WebSocket is open: longer than from one upgrade to the next.
const TALK: Duration = Duration::from_secs(80);

/// Nothing takes longer, but for a talk.
const LONGEST: Duration = Duration::from_secs(90);

impl Book {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn count(&self, what: &'static str) {
        *self.done.lock().unwrap().entry(what).or_default() += 1;
    }

    /// Notes that something is done to the daemon now.
    pub(crate) fn note(&self, deed: &'static str) {
        let after = self.began.elapsed();
        println!("{:.1} s: {deed}", after.as_secs_f64());
        self.deeds.lock().unwrap().push((after, deed));
    }

    pub(crate) fn fail(&self, what: &str, why: impl std::fmt::Display) {
        self.failed(what, why, self.began.elapsed());
    }

    /// Something failed `after` the beginning, and what was done last before that.
    pub(crate) fn failed(&self, what: &str, why: impl std::fmt::Display, after: Duration) {
        let deeds = self.deeds.lock().unwrap().clone();
        let last = deeds.iter().rfind(|(then, _)| *then <= after);
        let since = match last {
            None => "before anything was done".to_owned(),
            Some((then, deed)) => {
                format!("{:.1} s after: {deed}", after.saturating_sub(*then).as_secs_f64())
            }
        };
        let failure = format!("{:.1} s, {since}: {what}: {why}", after.as_secs_f64());
        eprintln!("FAILED {failure}");
        self.failures.lock().unwrap().push(failure);
    }
}

/// Repeats `work` until the end.
pub(crate) async fn again<F>(book: Arc<Book>, what: &'static str, work: impl Fn(Arc<Book>) -> F)
where
    F: Future<Output = Result<&'static str, String>>,
{
    while !book.ended() {
        match tokio::time::timeout(LONGEST, work(Arc::clone(&book))).await {
            Ok(Ok(done)) => book.count(done),
            Ok(Err(error)) => book.fail(what, error),
            Err(_) => book.fail(what, "it took too long"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One request on a connection of its own.
async fn ask(book: &Book, path: &str, body: Bytes) -> Result<(Bytes, HandshakeKind), String> {
    let target = &book.target;
    let stream = connect(&book.config, target.address, &target.name).await;
    let stream = stream.map_err(|error| format!("connect: {error}"))?;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let shaken = hyper::client::conn::http1::handshake(io).await;
    let (mut sender, connection) = shaken.map_err(|error| format!("http: {error}"))?;
    drop(tokio::task::spawn(connection));
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = http::Request::builder().method(method).uri(path).header("host", &target.name);
    let request = request.body(Full::new(body)).unwrap();
    let response = sender.send_request(request).await.map_err(|e| format!("request: {e:?}"))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|e| format!("body: {e:?}"))?;
    if status != 200 {
        return Err(format!("status {status}: {:?}", body.to_bytes()));
    }
    Ok((body.to_bytes(), kind))
}

pub(crate) async fn return_with_ticket(book: Arc<Book>) -> Result<&'static str, String> {
    match ask(&book, "/bytes/100", Bytes::new()).await? {
        (_, HandshakeKind::Resumed) => Ok("resumed handshakes"),
        _ => Ok("full handshakes of those who may resume"),
    }
}

pub(crate) async fn download(book: Arc<Book>) -> Result<&'static str, String> {
    let (body, _) = ask(&book, "/bytes/3000000", Bytes::new()).await?;
    if body.len() == 3_000_000 { Ok("downloads") } else { Err(format!("{} octets", body.len())) }
}

/// Half a minute, so that every other one is under way in an upgrade.
pub(crate) async fn long_download(book: Arc<Book>) -> Result<&'static str, String> {
    let (body, _) = ask(&book, "/drip/300/100", Bytes::new()).await?;
    if body.len() == 300 { Ok("long downloads") } else { Err(format!("{} octets", body.len())) }
}

pub(crate) async fn upload(book: Arc<Book>) -> Result<&'static str, String> {
    let (body, _) = ask(&book, "/count", Bytes::from(vec![7; 1_000_000])).await?;
    if &body[..] == b"1000000" { Ok("uploads") } else { Err(format!("counted {body:?}")) }
}

/// Says its request and takes the answer bit by bit.
pub(crate) async fn slow(book: Arc<Book>) -> Result<&'static str, String> {
    let failed = |error: std::io::Error| error.to_string();
    let target = &book.target;
    let mut stream = connect(&book.config, target.address, &target.name).await.map_err(failed)?;
    let request =
        format!("GET /bytes/200000 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.name);
    for part in request.as_bytes().chunks(16) {
        stream.write_all(part).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (mut taken, mut buffer) = (0, vec![0; 16 * 1024]);
    loop {
        match stream.read(&mut buffer).await.map_err(failed)? {
            0 if taken > 200_000 => return Ok("slow requests"),
            0 => return Err(format!("cut off after {taken} octets")),
            read => taken += read,
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

pub(crate) async fn talk(book: Arc<Book>) -> Result<&'static str, String> {
    let stream = connect(&book.internal, book.target.address, CHAT).await;
    let stream = stream.map_err(|error| format!("connect: {error}"))?;
    let opened = tokio_tungstenite::client_async(format!("wss://{CHAT}/"), stream).await;
    let (mut socket, _) = opened.map_err(|error| format!("open: {error}"))?;
    let until = tokio::time::Instant::now() + TALK;
    let mut said = 0;
    while tokio::time::Instant::now() < until && !book.ended() {
        said += 1;
        let text = Message::text(format!("sentence {said}"));
        socket.send(text.clone()).await.map_err(|e| format!("send {said}: {e}"))?;
        let heard = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
        match heard {
            Ok(Some(Ok(heard))) if heard == text => {}
            other => return Err(format!("sentence {said} was answered with {other:?}")),
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    socket.close(None).await.map_err(|error| format!("close: {error}"))?;
    Ok("WebSockets")
}
