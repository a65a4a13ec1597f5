//! Clients of HTTP/2 that cost more than they pay for.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use crate::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, Verdict, block, frame,
};
use crate::house::{House, limits, site};
use crate::origin::Origin;

fn get(stream: u32, path: &[u8]) -> Vec<u8> {
    let fields: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"https"), (":authority", b"a.example"), (":path", path)];
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
}

const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Whether the connection ends while `send` is repeated at most `times`.
async fn ends(client: &mut Frames, times: u32, mut send: impl FnMut(u32) -> Vec<u8>) -> bool {
    for turn in 0..times {
        if client.0.write_all(&send(turn)).await.is_err() || client.0.flush().await.is_err() {
            return true;
        }
        sleep(Duration::from_millis(1)).await;
    }
    client.verdict(u32::MAX >> 1).await == Verdict::Closed
}

/// CVE-2023-44487: requests and their resets in one go.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut client = Frames::open(&house, &[]).await;
    let mut all = Vec::new();
    for turn in 0..2000 {
        all.extend(get(2 * turn + 1, b"/silent"));
        all.extend(frame(RST_STREAM, 0, 2 * turn + 1, &CANCEL));
    }
    let _ = client.0.write_all(&all).await;
    assert_eq!(client.verdict(u32::MAX >> 1).await, Verdict::Closed);
    assert!(origin.seen() < 400, "{} requests reached the origin", origin.seen());
}

/// The same with time between, so that each request is on its way to the origin.
#[tokio::test]
async fn slow_resets_end_the_connection_too() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut client = Frames::open(&house, &[]).await;
    let ended = ends(&mut client, 1000, |turn| {
        let mut bytes = get(2 * turn + 1, b"/silent");
        if let Some(last) = turn.checked_sub(1) {
            bytes.extend(frame(RST_STREAM, 0, 2 * last + 1, &CANCEL));
        }
        bytes
    })
    .await;
    assert!(ended, "the connection goes on");
    assert!(origin.seen() < 400, "{} requests reached the origin", origin.seen());
}

/// A client that takes back some requests and lets others be answered goes on.
#[tokio::test]
async fn who_takes_back_every_second_request_goes_on() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut client = Frames::open(&house, &[]).await;
    for turn in 0..400 {
        let (one, two) = (4 * turn + 1, 4 * turn + 3);
        client.send(&[get(one, b"/silent"), get(two, b"/head")].concat()).await;
        assert_eq!(client.verdict(two).await, Verdict::Ok, "turn {turn}");
        client.send(&frame(RST_STREAM, 0, one, &CANCEL)).await;
    }
}

/// CVE-2024-27316: a head that never ends.
#[tokio::test]
async fn endless_continuations_end_the_connection() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    for piece in [Vec::new(), block(&[("x", &[b'y'; 100][..])]).repeat(100)] {
        let mut client = Frames::open(&house, &[]).await;
        let fields = block(&[(":method", b"GET"), (":scheme", b"https"), (":path", b"/")]);
        client.send(&frame(HEADERS, END_STREAM, 1, &fields)).await;
        assert!(ends(&mut client, 1000, |_| frame(CONTINUATION, 0, 1, &piece)).await);
    }
    assert_eq!(origin.seen(), 0);
}

/// A stream without a window is reset after the body deadline, however lively the rest is.
#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset_and_the_others_go_on() {
    let origin = Origin::start();
    let mut short = limits();
    short.body_timeout = Duration::from_millis(600);
    let house = House::open(vec![site(&["a.example"], origin.address)], short);
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is nothing.
    let mut client = Frames::open(&house, &[0, 4, 0, 0, 0, 0]).await;
    client.send(&get(1, b"/bytes/100000")).await;
    assert_eq!(client.verdict(1).await, Verdict::Ok, "its head needs no window");
    let mut reset = false;
    for turn in 0..40 {
        sleep(Duration::from_millis(100)).await;
        // HEAD-like answers need no window either: the connection is in use all the time.
        let stream = 2 * turn + 3;
        let fields: [(&str, &[u8]); 4] = [
            (":method", b"HEAD"),
            (":scheme", b"https"),
            (":authority", b"a.example"),
            (":path", b"/"),
        ];
        client.send(&frame(PING, 0, 0, &[0; 8])).await;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields));
        client.send(&head).await;
        while let Some(frame) = client.next().await {
            reset |= frame.kind == RST_STREAM && frame.stream == 1;
            if frame.kind == HEADERS && frame.stream == stream {
                break;
            }
        }
        if reset {
            break;
        }
    }
    assert!(reset, "the stream is held for ever");
    let stream = 1001;
    client.send(&get(stream, b"/")).await;
    assert_eq!(client.verdict(stream).await, Verdict::Ok);
}
