//! Which keys are at hand while many clients ask for names as they do, and one goes through all.
//!
//! A client here says hello, in TLS 1.2, and goes away when the server has signed: whatever the
//! daemon looks up, keeps and pushes out for a handshake is the same as for one that is completed,
//! and what is spared is the client's own work, three quarters of the time. The signatures that
//! the vault counted must be as many as were asked for.
//!
//! The room is for one key in a hundred names, so that it is full, and has been full several times
//! over, before anything is counted; `cargo bench --bench cache` shows for the policy alone what
//! that and the default come to in the long run.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rustls::ClientConfig;
use rustls::ClientConnection;

use super::World;
use super::making::name;

/// One request of a trace in so many is the scanner's.
const SCANS: usize = 10;

/// A ServerHelloDone, which the server says last before the client has to speak (RFC 5246,
/// section 7.4.5).
const DONE: [u8; 4] = [14, 0, 0, 0];

/// Asks `world` as so many `requests` of clients do, of which the first half only fills the cache.
pub(super) fn trace(world: &World, client: &Arc<ClientConfig>, exponent: f64, requests: usize) {
    let wanted = requested(world.names, exponent, requests);
    let (first, second) = wanted.split_at(requests / 2);
    ask(client, world.house.https, first);
    let before = world.figures();
    ask(client, world.house.https, second);
    let after = world.figures();
    let more = |name: &str| after(name) - before(name);
    let (hits, misses, signatures) = (more("hits"), more("misses"), more("signatures"));
    assert_eq!(signatures, second.len() as u64, "each request is signed for once");
    let scans = (second.len() / SCANS) as u64;
    println!(
        "Zipf {exponent} and a scanner, second half of {requests} requests, room for {} keys: at \
         hand {:.1} % ({hits} hits, {misses} misses, {scans} of the scanner)",
        after("open"),
        // The signature that follows a miss finds the key, so every request has its hit.
        hits.saturating_sub(misses) as f64 * 100.0 / (signatures - scans) as f64
    );
}

/// The numbers of the names, as they are asked for.
fn requested(names: usize, exponent: f64, requests: usize) -> Vec<usize> {
    let zipf = Zipf::new(names, exponent);
    let mut rng = fastrand::Rng::with_seed(2);
    let request = |number: usize| {
        if number % SCANS == SCANS - 1 {
            (names / 7 + number / SCANS) % names
        } else {
            zipf.draw(&mut rng)
        }
    };
    (0..requests).map(request).collect()
}

/// As many clients at a time as there are cores.
fn ask(client: &Arc<ClientConfig>, port: u16, wanted: &[usize]) {
    let next = AtomicUsize::new(0);
    let clients = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while let Some(number) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    have_signed(client, port, &name(*number));
                }
            });
        }
    });
}

/// Has the server sign for this name, and goes away.
fn have_signed(client: &Arc<ClientConfig>, port: u16, name: &str) {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // There are more requests than ports, and one that was closed politely stays taken for a while.
    socket2::SockRef::from(&tcp).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    let host = name.to_owned().try_into().unwrap();
    ClientConnection::new(Arc::clone(client), host).unwrap().write_tls(&mut tcp).unwrap();
    let (mut said, mut length) = ([0; 8192], 0);
    while !said[..length].ends_with(&DONE) {
        let count = tcp.read(&mut said[length..]).unwrap();
        assert!(count > 0 && said[0] == 22, "{name}: the server does not go on with the handshake");
        length += count;
    }
}

/// Numbers of which the n-th is drawn with a weight of n to the power of minus `exponent`.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count).map(|n| {
            sum += (n as f64).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        let at = rng.f64() * self.0.last().unwrap();
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1)
    }
}
