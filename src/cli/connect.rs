//! The way to the daemon: HTTP/1.1 over its Unix socket, one connection for each command.
//!
//! Whatever goes wrong on the way becomes a [`Report`] with the exit status that tells which of
//! the sides is to blame.

use std::io;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::header;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::report::FAILED;
use super::report::FAULT;
use super::report::NO_DAEMON;
use super::report::NOT_ALLOWED;
use super::report::Report;
use super::report::USAGE;
use crate::admin::wire::PREFIX;
use crate::admin::wire::Problem;
use crate::admin::wire::issue::IssueOrder;
use crate::admin::wire::transfer::HANDOVER;
use crate::admin::wire::transfer::HANDOVER_ORDER;
use crate::admin::wire::transfer::Handover;
use crate::admin::wire::transfer::HandoverOrder;
use crate::base::bounds;
use crate::base::tasks::TaskSet;
use crate::os::descriptors;

/// Pause while the queue of the socket is full (unix(7), `EAGAIN`); the deadline of the whole ends it.
const QUEUE_FULL: Duration = Duration::from_millis(20);

/// A client of the admin socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
    timeout: Duration,
    /// Shown with each request.
    token: Option<Zeroizing<String>>,
    runtime: Runtime,
    tasks: TaskSet,
}

/// What the daemon said, unless it refused.
#[derive(Clone, Debug)]
pub(super) struct Answer(pub(super) Bytes);

impl Client {
    pub(super) fn new(
        socket: &Path,
        timeout: Duration,
        token: Option<Zeroizing<String>>,
    ) -> Result<Self, Report> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Report::new(FAULT, format!("cannot start: {error}")))?;
        let (tasks, _nobody_watches) = TaskSet::new();
        Ok(Self { socket: socket.to_owned(), timeout, token, runtime, tasks })
    }

    /// `GET` of a path below [`PREFIX`].
    pub(super) fn get(&self, path: &str) -> Result<Answer, Report> {
        self.wait(self.ask(Method::GET, path, Bytes::new()))
    }

    /// `POST` to a path below [`PREFIX`].
    pub(super) fn post(&self, path: &str) -> Result<Answer, Report> {
        self.wait(self.ask(Method::POST, path, Bytes::new()))
    }

    /// `POST` of `body` to a path below [`PREFIX`].
    pub(super) fn post_json(&self, path: &str, body: &impl Serialize) -> Result<Answer, Report> {
        let body = serde_json::to_vec(body).map_err(|e| Report::new(FAULT, e.to_string()))?;
        self.wait(self.ask(Method::POST, path, body.into()))
    }

    /// An order for a certificate, on this client's runtime.
    pub(super) async fn post_order(&self, order: &IssueOrder) -> Result<Answer, Report> {
        let body = serde_json::to_vec(order).map_err(|e| Report::new(FAULT, e.to_string()))?;
        self.ask(Method::POST, "/certificates", body.into()).await
    }

    /// `GET` of a path below [`PREFIX`], on this client's runtime.
    pub(super) async fn fetch(&self, path: &str) -> Result<Answer, Report> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// `DELETE` of a path below [`PREFIX`].
    pub(super) fn delete(&self, path: &str) -> Result<Answer, Report> {
        self.wait(self.ask(Method::DELETE, path, Bytes::new()))
    }

    /// Whether a descriptor can be handed over: what would be refused is known before anything is done
    /// for it.
    pub(super) fn can_hand_over(&self) -> Result<(), Report> {
        if self.token.is_none() {
            return Ok(());
        }
        let what = "a token cannot be shown with a file that is handed over";
        Err(Report::new(USAGE, what).hint("without --token-file, as a user who may do this"))
    }

    /// Hands `descriptor` over with an order, in place of HTTP, and waits for what became of it.
    pub(super) fn hand_over(
        &self,
        order: &HandoverOrder,
        descriptor: BorrowedFd<'_>,
    ) -> Result<Handover, Report> {
        let fault = |error: &dyn std::fmt::Display| Report::new(FAULT, error.to_string());
        self.can_hand_over()?;
        let mut frame = HANDOVER.to_vec();
        serde_json::to_writer(&mut frame, order).map_err(|error| fault(&error))?;
        if frame.len() > HANDOVER.len() + HANDOVER_ORDER {
            return Err(Report::new(FAILED, "the name of the certificate is too long"));
        }
        let stream = std::os::unix::net::UnixStream::connect(&self.socket)
            .map_err(|error| self.no_way(&error))?;
        descriptors::set_deadline(stream.as_fd(), self.timeout).map_err(|error| fault(&error))?;
        let broken = |error: &io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => self.too_slow(),
            _ => self.no_way(error),
        };
        descriptors::send_with(stream.as_fd(), &frame, &[descriptor]).map_err(|e| broken(&e))?;
        let mut answer = Vec::new();
        let limit = u64::try_from(bounds::ADMIN_BODY).unwrap_or(u64::MAX);
        stream.take(limit).read_to_end(&mut answer).map_err(|error| broken(&error))?;
        // Whoever is not admitted is told so in HTTP.
        if answer.starts_with(b"HTTP/") {
            return Err(Report::new(NOT_ALLOWED, "you may not use this socket")
                .hint("run as root, or join the group named by [admin] group"));
        }
        match Answer(answer.into()).decode()? {
            Handover::Problem(problem) => Err(Report::problem(&problem)),
            done => Ok(done),
        }
    }

    /// Runs `future` to its end on this client's runtime.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Report> {
        let mut request = self.request(method, path, "application/json");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let work = async { collect(self.send(request.body(Full::new(body))).await?).await };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(answer) => answer,
            Err(_) => Err(self.too_slow()),
        }
    }

    /// Opens a stream of server-sent events; a refusal is an error.
    pub(super) async fn stream(
        &self,
        path: &str,
        last: Option<u64>,
    ) -> Result<Response<Incoming>, Report> {
        let mut request = self.request(Method::GET, path, "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let work = async {
            let response = self.send(request.body(Full::default())).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            Err(collect(response).await.err().unwrap_or_else(strange))
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(opened) => opened,
            Err(_) => Err(self.too_slow()),
        }
    }

    fn request(&self, method: Method, path: &str, accept: &str) -> http::request::Builder {
        let builder = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{path}"))
            .header(header::HOST, "keyward")
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("keyward/", env!("CARGO_PKG_VERSION")));
        match &self.token {
            Some(token) => {
                let value = HeaderValue::try_from(format!("Bearer {}", token.as_str()));
                // What was read as a token is plain text.
                let Ok(mut value) = value else { return builder };
                value.set_sensitive(true);
                builder.header(header::AUTHORIZATION, value)
            }
            None => builder,
        }
    }

    async fn send(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, Report> {
        let request = request.map_err(|error| Report::new(FAULT, error.to_string()))?;
        let stream = self.connect().await.map_err(|error| self.no_way(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        self.tasks.job("connection to the daemon", async move {
            // What breaks a connection is told by the request or the body that broke with it.
            let _told_there = connection.await;
        });
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    /// Connects; while others fill the queue of the socket, again and again.
    async fn connect(&self) -> io::Result<UnixStream> {
        loop {
            match UnixStream::connect(&self.socket).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(QUEUE_FULL).await;
                }
                other => return other,
            }
        }
    }

    fn no_way(&self, error: &io::Error) -> Report {
        let path = self.socket.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Report::new(NOT_ALLOWED, format!("you may not use the socket {path}"))
                    .hint("run as root, or join the group named by [admin] group")
            }
            _ => Report::new(
                NO_DAEMON,
                format!("keyward is not running (no answer on {path}: {})", words(error)),
            )
            .hint("systemctl status keyward"),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Report {
        let path = self.socket.display();
        Report::new(NO_DAEMON, format!("the answer on {path} broke off or is none: {error}"))
            .hint("systemctl status keyward")
    }

    fn too_slow(&self) -> Report {
        Report::new(
            NO_DAEMON,
            format!(
                "the daemon did not answer on {} within {} s",
                self.socket.display(),
                self.timeout.as_secs()
            ),
        )
        .hint("journalctl -u keyward, or a longer --timeout")
    }
}

impl Answer {
    /// The answer as the type it should have.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, Report> {
        serde_json::from_slice(&self.0).map_err(|error| {
            Report::new(FAULT, format!("the daemon's answer is not understood: {error}"))
                .hint("compare keyward --version with keyward status")
        })
    }
}

/// Reads the whole answer; what is not a success becomes an error.
async fn collect(response: Response<Incoming>) -> Result<Answer, Report> {
    let status = response.status();
    let body = Limited::new(response.into_body(), bounds::ADMIN_ANSWER).collect().await;
    let bytes = body
        .map_err(|error| Report::new(NO_DAEMON, format!("the answer broke off: {error}")))?
        .to_bytes();
    if status.is_success() {
        return Ok(Answer(bytes));
    }
    Err(match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Report::problem(&problem),
        Err(_) => {
            Report::new(NO_DAEMON, format!("what answers there is not keyward (status {status})"))
        }
    })
}

/// An answer that is neither a success nor a refusal.
fn strange() -> Report {
    Report::new(FAULT, "the daemon answered with something that is no stream")
}

/// The words of an error without the number of the operating system.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// One segment of a path, with everything but the plainest characters escaped.
pub(super) fn segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_whatever_is_in_it() {
        assert_eq!(segment("a-b.example"), "a-b.example");
        assert_eq!(segment("*.x/../y?z#"), "%2A.x%2F..%2Fy%3Fz%23");
        assert_eq!(segment("\u{fc}"), "%C3%BC");
    }
}
