//! An HTTP/2 client that writes its frames itself, for what no library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_rustls::client::TlsStream;

use crate::house::House;
use crate::load;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) struct Frames(pub(crate) TlsStream<TcpStream>);

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals, never indexed, never Huffman (RFC 7541, section 6.2.3).
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        for text in [name.as_bytes(), value] {
            assert!(text.len() < 127, "one byte of length suffices");
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

impl Frames {
    /// A connection with `settings` (identifier and value, six bytes each) said.
    pub(crate) async fn open(house: &House, settings: &[u8]) -> Self {
        let config = load::client_config(&house.ca.root(), &[b"h2"]);
        let mut stream = load::connect(&config, house.https, "a.example").await.unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, settings));
        bytes.extend(frame(SETTINGS, 1, 0, &[]));
        stream.write_all(&bytes).await.unwrap();
        Self(stream)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], stream, payload })
        };
        timeout(Duration::from_secs(10), reading).await.expect("the server goes on")
    }

    /// What becomes of `stream`: its status as the static table numbers it, or a reset.
    pub(crate) async fn verdict(&mut self, stream: u32) -> Verdict {
        loop {
            match self.next().await {
                None => return Verdict::Closed,
                Some(frame) if frame.kind == GOAWAY && frame.payload[4..8] != [0; 4] => {
                    return Verdict::Closed;
                }
                Some(frame) if frame.stream != stream => {}
                Some(frame) if frame.kind == RST_STREAM => return Verdict::Reset,
                Some(frame) if frame.kind == HEADERS => {
                    return match frame.payload.first() {
                        Some(0x88) => Verdict::Ok,
                        Some(0x8c) => Verdict::BadRequest,
                        _ => Verdict::Other,
                    };
                }
                Some(_) => {}
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Ok,
    BadRequest,
    Other,
    Reset,
    Closed,
}
