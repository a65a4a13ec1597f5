//! An origin that says exactly the bytes it is told to, and keeps every byte that it was sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Dropping it closes nothing; its threads end with the connections they have.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// What is said to the head of a request; `None` ends the connection. After the answer to `/late`
/// one that nobody asked for is sent.
type Script = fn(&str) -> Option<String>;

impl Scripted {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (hearing, counting) = (Arc::clone(&heard), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counting.fetch_add(1, Ordering::SeqCst);
                let hearing = Arc::clone(&hearing);
                std::thread::spawn(move || talk(stream, script, &hearing));
            }
        });
        Self { address, heard, connections }
    }

    /// Everything that was sent, head by head; a body stands before the head that follows it.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn connected(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn talk(mut stream: TcpStream, script: Script, heard: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
            bytes.drain(..end + 4);
            heard.lock().unwrap().push(head.clone());
            let Some(answer) = script(&head) else { return };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            if head.starts_with("GET /late ") {
                std::thread::sleep(Duration::from_millis(100));
                let unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
                let _ = stream.write_all(unasked);
            }
        }
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => bytes.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    if !bytes.is_empty() {
        heard.lock().unwrap().push(String::from_utf8_lossy(&bytes).into_owned());
    }
}
