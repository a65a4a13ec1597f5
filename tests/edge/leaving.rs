//! An origin that ends a connection of HTTP/2 with requests on it that it did not look at.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use keyward::config::{Address, Origin as Behind};

use crate::house::{House, limits, site};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// A server of frames (RFC 9113, section 4.1): on its first connection it answers a request and waits
/// for two more, says that it has looked at the first of them alone, and answers that one; on others
/// it answers all.
struct Leaving {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The streams of requests, each with the number of its connection.
    heard: Arc<Mutex<Vec<(usize, u32)>>>,
}

impl Leaving {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&heard));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || talk(stream, number, &noted));
            }
        });
        Self { address, connections, heard }
    }
}

/// Until the client hangs up.
fn talk(mut stream: TcpStream, number: usize, heard: &Mutex<Vec<(usize, u32)>>) -> Option<()> {
    stream.read_exact(&mut [0; 24]).ok()?;
    // A hundred streams at a time.
    say(&mut stream, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])?;
    let mut asked = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        stream.read_exact(&mut vec![0; length as usize]).ok()?;
        match head[3] {
            SETTINGS if head[4] & 1 == 0 => say(&mut stream, SETTINGS, 1, 0, &[])?,
            HEADERS => {
                heard.lock().unwrap().push((number, id));
                asked.push(id);
                if number > 0 || asked.len() == 1 {
                    good(&mut stream, id)?;
                } else if let [_, second, _] = asked[..] {
                    let last = [second.to_be_bytes(), [0; 4]].concat();
                    say(&mut stream, GOAWAY, 0, 0, &last)?;
                    good(&mut stream, second)?;
                }
            }
            _ => {}
        }
    }
}

fn say(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Option<()> {
    let length = u8::try_from(payload.len()).unwrap();
    let frame = [&[0, 0, length, kind, flags][..], &id.to_be_bytes(), payload].concat();
    stream.write_all(&frame).ok()
}

/// A 200 without a body: the eighth entry of the static table (RFC 7541, appendix A).
fn good(stream: &mut TcpStream, id: u32) -> Option<()> {
    say(stream, HEADERS, 0x5, id, &[0x88])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_origin_that_leaves_did_not_look_at_is_asked_again_whatever_it_is() {
    let origin = Leaving::start();
    let mut site = site(&["a.example"], origin.address);
    let address = Address::H2c(origin.address.to_string().parse().unwrap());
    site.origin = Behind::several([address]);
    let mut one = limits();
    one.workers = 1;
    let house = House::open(vec![site], one);
    let post =
        b"POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let first = house.raw("a.example", post).await;
    let (second, third) = tokio::join!(house.raw("a.example", post), house.raw("a.example", post));
    for answer in [first, second, third] {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(*origin.heard.lock().unwrap(), [(0, 1), (0, 3), (0, 5), (1, 1)]);
    assert_eq!(origin.connections.load(Ordering::SeqCst), 2);
}
