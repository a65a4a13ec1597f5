//! Requests over HTTP/2 that are answered before their body was read: the client sees the answer.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use keyward::config;
use tokio::time::{sleep, timeout};

use crate::house::{House, limits, site};
use crate::load;
use crate::origin::Origin;

/// A site that answers in all ways that need no body.
fn open(origin: &Origin, files: &std::path::Path) -> House {
    // Nobody has the first port.
    let text = format!(
        "[[site]]\nnames = ['a.internal']\norigin = 'http://127.0.0.1:1'\n\
         [[site.route]]\npath = '/gone/*'\nredirect = 'https://a.example/here'\n\
         [[site.route]]\npath = '/files/*'\nroot = {files:?}\n\
         [[site.route]]\npath = '/dead/*'\norigin = 'http://127.0.0.1:1'\n\
         [[site.route]]\npath = '/shut/*'\ndeny = ['0.0.0.0/0']\n\
         [[site.route]]\npath = '/short/*'\nmax_body = '10B'\n"
    );
    let parsed = config::parse(&text, std::path::Path::new("keyward.toml"), [("", ""); 0]);
    let read = parsed.unwrap_or_else(|problems| panic!("{problems}")).config.sites.remove(0);
    let mut here = site(&["a.example"], origin.address);
    here.routes = read.routes;
    House::open(vec![here, site(&["b.example"], origin.address)], limits())
}

type Stream = h2::SendStream<Bytes>;

/// A client, and what drives its connection.
async fn connect(house: &House) -> h2::client::SendRequest<Bytes> {
    let config = load::client_config(&house.ca.root(), &[b"h2"]);
    let stream = load::connect(&config, house.https, "a.example").await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// Begins a request whose body is to follow, with `first` of it; its answer when that is whole.
async fn post(
    sender: &mut h2::client::SendRequest<Bytes>,
    (host, path): (&str, &str),
    first: Bytes,
) -> (StatusCode, Stream) {
    let request = Request::post(format!("https://{host}{path}")).body(()).unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    if !first.is_empty() {
        stream.send_data(first, false).unwrap();
    }
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time").unwrap();
    let (status, mut body) = (answer.status(), answer.into_body());
    while let Some(data) = timeout(PATIENCE, body.data()).await.expect("its body in time") {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    (status, stream)
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether its rest may be sent.
async fn goes_on(mut stream: Stream) -> bool {
    for _ in 0..4 {
        if stream.send_data(Bytes::from_static(&[b'x'; 16_000]), false).is_err() {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let reset = poll_fn(|cx| Poll::Ready(stream.poll_reset(cx).is_ready())).await;
    !reset && stream.send_data(Bytes::from_static(b"end"), true).is_ok()
}

/// RFC 9113, section 8.1: a stream may be reset after its answer, and there are clients that take the
/// reset for the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_that_nobody_wants_may_come() {
    let (origin, files) = (Origin::start(), tempfile::tempdir().unwrap());
    let house = open(&origin, files.path());
    let mut sender = connect(&house).await;
    let long = Bytes::from_static(&[b'x'; 1000]);
    for (host, path, first, expected) in [
        ("b.example", "/", Bytes::new(), 421),
        ("a.example", "/gone/a", Bytes::new(), 308),
        ("a.example", "/files/a", Bytes::new(), 405),
        ("a.example", "/dead/a", Bytes::new(), 502),
        ("a.example", "/shut/a", Bytes::new(), 403),
        ("a.example", "/short/a", long, 413),
    ] {
        let mut tried = 0;
        loop {
            let (status, stream) = post(&mut sender, (host, path), first.clone()).await;
            let begun = Instant::now();
            assert_eq!(status, expected, "{path}");
            let goes_on = goes_on(stream).await;
            // Who takes longer than a second over it is not waited for.
            if begun.elapsed() < Duration::from_millis(700) {
                assert!(goes_on, "{path}: {status}");
                break;
            }
            tried += 1;
            assert!(tried < 50, "the machine is too slow to tell");
        }
    }
}

/// A body without end is not read for ever: not for longer than a second, and no more of it than a
/// quarter of a megabyte.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_that_does_not_end_is_cut_off() {
    let (origin, files) = (Origin::start(), tempfile::tempdir().unwrap());
    let house = open(&origin, files.path());
    let mut sender = connect(&house).await;
    let (status, mut stream) = post(&mut sender, ("b.example", "/"), Bytes::new()).await;
    assert_eq!(status, 421);
    let reason = timeout(PATIENCE, poll_fn(|cx| stream.poll_reset(cx))).await.expect("in time");
    assert_eq!(reason.unwrap(), h2::Reason::NO_ERROR);
    // The connection goes on.
    let (status, _) = post(&mut sender, ("b.example", "/"), Bytes::new()).await;
    assert_eq!(status, 421);
}
