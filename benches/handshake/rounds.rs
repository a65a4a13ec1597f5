//! Rounds of handshakes by some workers at once, and what they show.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Barrier;
use std::time::Duration;
use std::time::Instant;

use keyward::cert::ports::Signers as _;
use keyward::os::affinity;
use keyward::vault::Vault;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::ServerConnection;

use crate::kinds::Place;
use crate::kinds::Site;

/// Handshakes of each worker before a round.
const WARM: usize = 20;

/// What the rounds showed of a handshake.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// CPU of the server, with the vault's.
    pub(crate) cpu_us: f64,
    /// Handshakes a second while the server worked.
    pub(crate) per_second: f64,
    /// Time that the server worked on one.
    pub(crate) p50_us: f64,
    /// The same for the slowest hundredth.
    pub(crate) p99_us: f64,
}

/// The workers of one site.
pub(crate) struct Squad<'s> {
    site: &'s Site,
    vault: &'s Vault,
    cores: Vec<Option<usize>>,
    cpu_us: Vec<f64>,
    per_second: Vec<f64>,
    latencies: Vec<f64>,
}

/// What one worker did in one stretch.
#[derive(Clone, Copy, Default)]
struct Stretch {
    cpu: Duration,
    wall: Duration,
}

/// What one worker did in one round: the hellos, then the clients' last words.
struct Work {
    first: Stretch,
    last: Stretch,
    latencies: Vec<Duration>,
    vault: Duration,
}

/// One connection, at both ends.
struct Pair {
    client: ClientConnection,
    said: Vec<u8>,
    server: Option<ServerConnection>,
    answer: Vec<u8>,
    took: Duration,
}

impl<'s> Squad<'s> {
    pub(crate) fn new(site: &'s Site, vault: &'s Vault, cores: Vec<Option<usize>>) -> Self {
        let (cpu_us, per_second, latencies) = Default::default();
        Self { site, vault, cores, cpu_us, per_second, latencies }
    }

    /// One round of `batch` handshakes for each worker.
    pub(crate) fn round(&mut self, batch: usize) {
        let together = Barrier::new(self.cores.len());
        let all: Vec<Work> = std::thread::scope(|scope| {
            let works: Vec<_> = (self.cores.iter().enumerate())
                .map(|(index, core)| {
                    let (site, vault, together) = (self.site, self.vault, &together);
                    let worker = Worker { site, vault, index, core: *core, together };
                    scope.spawn(move || worker.works(batch))
                })
                .collect();
            works.into_iter().map(|work| work.join().expect("no panic")).collect()
        });
        let count = (batch * self.cores.len()) as f64;
        let cpu: Duration = all.iter().map(|work| work.first.cpu + work.last.cpu).sum();
        // The vault's is of all workers, and the same for each but for what the last of them does.
        let vault = all.iter().map(|work| work.vault).max().unwrap_or_default();
        self.cpu_us.push((cpu + vault).as_secs_f64() * 1e6 / count);
        let longest = |part: fn(&Work) -> Stretch| {
            all.iter().map(|work| part(work).wall).max().unwrap_or_default()
        };
        let wall = longest(|work| work.first) + longest(|work| work.last);
        self.per_second.push(count / wall.as_secs_f64());
        let latencies = all.iter().flat_map(|work| &work.latencies);
        self.latencies.extend(latencies.map(|took| took.as_secs_f64() * 1e6));
    }

    /// What all rounds showed.
    pub(crate) fn sum(self) -> Sample {
        Sample {
            cpu_us: percentile(self.cpu_us, 50),
            per_second: percentile(self.per_second, 50),
            p50_us: percentile(self.latencies.clone(), 50),
            p99_us: percentile(self.latencies, 99),
        }
    }
}

pub(crate) fn percentile(mut values: Vec<f64>, hundredths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len() * hundredths / 100;
    values.get(at.min(values.len() - 1)).copied().unwrap()
}

/// One thread, bound as a worker of the edge is.
struct Worker<'s> {
    site: &'s Site,
    vault: &'s Vault,
    index: usize,
    core: Option<usize>,
    together: &'s Barrier,
}

impl Worker<'_> {
    fn works(&self, batch: usize) -> Work {
        match (self.site.place, self.core) {
            (Place::Vault, core) => self.vault.bind_worker(self.index, core),
            (Place::Process, Some(core)) => affinity::bind_thread(core).unwrap(),
            (Place::Process, None) => {}
        }
        let clients = self.site.clients();
        if self.site.resumed {
            self.gather(&clients, batch + WARM);
        }
        let _warmed_up = self.batch(&clients, WARM);
        self.batch(&clients, batch)
    }

    /// As many tickets as there will be connections at once.
    fn gather(&self, clients: &Arc<ClientConfig>, tickets: usize) {
        let mut server = (*self.site.server).clone();
        server.send_tls13_tickets = tickets;
        let mut pair = Pair::new(clients);
        pair.first(&Arc::new(server));
        pair.replies();
        pair.last();
        pair.reads();
    }

    fn batch(&self, clients: &Arc<ClientConfig>, count: usize) -> Work {
        let mut pairs: Vec<Pair> = (0..count).map(|_| Pair::new(clients)).collect();
        let vault = self.vault_cpu();
        let first = self.stretch(&mut pairs, |pair| pair.first(&self.site.server));
        pairs.iter_mut().for_each(Pair::replies);
        let last = self.stretch(&mut pairs, Pair::last);
        // When all have done, so that nobody's share is missing.
        self.together.wait();
        let vault = self.vault_cpu().saturating_sub(vault);
        for pair in &mut pairs {
            pair.reads();
            let kind = pair.client.handshake_kind().expect("a handshake that is complete");
            assert_eq!(kind == HandshakeKind::Resumed, self.site.resumed);
        }
        let latencies = pairs.iter().map(|pair| pair.took).collect();
        Work { first, last, latencies, vault }
    }

    /// `work` for all of `pairs`, begun by all workers at once.
    fn stretch(&self, pairs: &mut [Pair], mut work: impl FnMut(&mut Pair)) -> Stretch {
        self.together.wait();
        let (cpu, wall) = (thread_cpu(), Instant::now());
        for pair in pairs {
            let start = Instant::now();
            work(pair);
            pair.took += start.elapsed();
        }
        Stretch { wall: wall.elapsed(), cpu: thread_cpu().saturating_sub(cpu) }
    }

    /// CPU of all of the vault's threads, where it has a part in this.
    fn vault_cpu(&self) -> Duration {
        if self.site.place == Place::Process {
            return Duration::ZERO;
        }
        std::fs::read_dir(format!("/proc/{}/task", self.vault.status().pid))
            .unwrap()
            .map(|thread| run_time(&thread.unwrap().path().join("schedstat")))
            .sum()
    }
}

impl Pair {
    /// A client that has said hello.
    fn new(clients: &Arc<ClientConfig>) -> Self {
        let name = "site.example".try_into().unwrap();
        let client = ClientConnection::new(Arc::clone(clients), name).unwrap();
        let (said, answer, took) = Default::default();
        let mut pair = Self { client, said, server: None, answer, took };
        pair.says();
        pair
    }

    fn says(&mut self) {
        self.said.clear();
        while self.client.wants_write() {
            self.client.write_tls(&mut self.said).unwrap();
        }
    }

    /// The server's part, up to its first flight.
    fn first(&mut self, config: &Arc<ServerConfig>) {
        let mut server = ServerConnection::new(Arc::clone(config)).unwrap();
        hear(&mut server, &self.said, &mut self.answer);
        self.server = Some(server);
    }

    /// The client's answer to that.
    fn replies(&mut self) {
        feed(&self.answer, |bytes| self.client.read_tls(bytes));
        self.client.process_new_packets().unwrap();
        self.says();
    }

    /// The rest of the server's part.
    fn last(&mut self) {
        let server = self.server.as_mut().unwrap();
        hear(server, &self.said, &mut self.answer);
        assert!(!server.is_handshaking());
    }

    /// The client takes what there is after the handshake: a record at a time, since many tickets
    /// at once are more than it keeps.
    fn reads(&mut self) {
        let mut bytes = self.answer.as_slice();
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
        }
    }
}

fn hear(server: &mut ServerConnection, said: &[u8], answer: &mut Vec<u8>) {
    feed(said, |bytes| server.read_tls(bytes));
    server.process_new_packets().unwrap();
    answer.clear();
    while server.wants_write() {
        server.write_tls(answer).unwrap();
    }
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

/// CPU time of this thread. The kernel brings its count up to date at a yield.
fn thread_cpu() -> Duration {
    std::thread::yield_now();
    run_time(Path::new("/proc/thread-self/schedstat"))
}

pub(crate) fn run_time(schedstat: &Path) -> Duration {
    let text = std::fs::read_to_string(schedstat).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
