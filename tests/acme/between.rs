//! Somebody between the issuer and Pebble who passes everything on, except what a test has him
//! answer himself.

use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use keyward::cert::chain::Chain;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::rig::Rig;

/// What he answers to a path; `None` passes the request on.
pub(crate) type Answers = Box<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

/// A whole answer with this body and these further header lines.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n");
    format!("{head}Connection: close\r\n\r\n{body}").into_bytes()
}

/// A good answer with this body.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "", body)
}

/// A place to listen at, before anybody does.
pub(crate) struct Between(TcpListener);

impl Between {
    pub(crate) fn bind() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).unwrap())
    }

    /// The origin of his URLs.
    pub(crate) fn origin(&self) -> String {
        format!("https://{}", self.0.local_addr().unwrap())
    }

    /// Begins to answer for the Pebble of `rig`, until that is gone. Returns the paths that he
    /// answers himself, as they come.
    pub(crate) fn serve(self, rig: &Arc<Rig>, answers: Answers) -> Arc<Mutex<Vec<String>>> {
        let dir = rig.pebble.ca_root().parent().unwrap().to_owned();
        let chain = Chain::from_pem(&std::fs::read(dir.join("server.pem")).unwrap()).unwrap();
        let key = PrivatePkcs8KeyDer::from_pem_file(dir.join("server.key")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(keyward::base::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.to_rustls(), key.into())
            .unwrap();
        let (config, answers) = (Arc::new(config), Arc::new(answers));
        let answered: Arc<Mutex<Vec<String>>> = Arc::default();
        let (rig, seen) = (Arc::downgrade(rig), Arc::clone(&answered));
        std::thread::spawn(move || {
            for socket in self.0.incoming().map_while(Result::ok) {
                let Some(rig) = rig.upgrade() else { return };
                let (config, answers) = (Arc::clone(&config), Arc::clone(&answers));
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(socket, config, &rig, &answers, &seen));
            }
        });
        answered
    }
}

fn serve(
    socket: TcpStream,
    config: Arc<rustls::ServerConfig>,
    rig: &Rig,
    answers: &Answers,
    seen: &Mutex<Vec<String>>,
) {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let tls = rustls::ServerConnection::new(config).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, socket);
    let Some(request) = read_request(&mut stream) else { return };
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let answer = match answers(path) {
        Some(answer) => {
            seen.lock().unwrap().push(path.to_owned());
            answer
        }
        None => {
            // Pebble makes its URLs from the Host it is asked for, which is ours.
            let request = text.replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1);
            let answer = rig.pebble.forward(request.as_bytes()).unwrap_or_default();
            answer.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes()
        }
    };
    // The client may hang up in the middle.
    let _ignored = stream.write_all(&answer);
    stream.conn.send_close_notify();
    let _ignored = stream.flush();
}

/// Reads one request with its body.
fn read_request(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = request.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if request.len() >= end + 4 + length {
                return Some(request);
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => request.extend_from_slice(&part[..count]),
        }
    }
}
