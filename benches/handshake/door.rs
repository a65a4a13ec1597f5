//! Handshakes as the product does them: clients at sockets, the edge, and the key in the edge's
//! process or in the vault.
//!
//! Clients are as many tasks as are asked for, each of which connects, shakes hands, hangs up, and
//! begins again; they share the machine with the server. What handshakes arrive together is theirs
//! to say, so one alone for each worker asks the vault alone, and several ask it together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use keyward::cert::chain::Chain;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers;
use keyward::os::affinity;
use keyward::vault::Vault;
use rustls::ClientConfig;
use rustls::NamedGroup;
use rustls::client::Resumption;
use rustls::sign::CertifiedKey;

use crate::house;
use crate::kinds::Place;
use crate::load;
use crate::memory;
use crate::rounds::percentile;
use crate::rounds::run_time;

const NAME: &str = "site.example";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Signs as another does, and binds each worker to the core that it is told, as the daemon's workers
/// are bound when there is one for each core.
#[derive(Debug)]
struct Pinned<S> {
    signers: S,
    cores: Vec<Option<usize>>,
}

impl<S: Signers> Signers for Pinned<S> {
    fn certified_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.signers.certified_key(chain, key)
    }

    fn client_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.signers.client_key(chain, key)
    }

    fn bind_worker(&self, index: usize, _: Option<usize>) {
        let core = self.cores.get(index).copied().flatten();
        if let Some(core) = core {
            affinity::bind_thread(core).unwrap();
        }
        self.signers.bind_worker(index, core);
    }
}

/// An edge that serves one site, and what its rounds showed.
pub(crate) struct Door {
    house: house::House,
    vault: Option<Vault>,
    /// The threads that serve, of both processes.
    threads: Vec<PathBuf>,
    client: Arc<ClientConfig>,
    rounds: Vec<Round>,
}

/// What one round showed.
struct Round {
    cpu_us: f64,
    per_second: f64,
    latencies: Vec<f64>,
    together: f64,
}

/// What all rounds showed.
pub(crate) struct Shown {
    pub(crate) cpu_us: f64,
    /// All of the machine, clients included.
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of the signatures, those that were asked for together.
    pub(crate) together: f64,
}

impl Door {
    pub(crate) fn new(
        place: Place,
        group: NamedGroup,
        vault: &Vault,
        cores: &[Option<usize>],
    ) -> Self {
        let ca = memory::MemoryCa::new();
        let mut limits = house::limits();
        (limits.workers, limits.max_connections) = (cores.len(), 10_000);
        (limits.network_share, limits.handshake_share) = (100, 100);
        let sites = vec![house::site(&[NAME], "127.0.0.1:1".parse().unwrap())];
        let cores = cores.to_vec();
        let (certificate, signers): (_, Arc<dyn Signers>) = match place {
            Place::Process => {
                let signers = InProcess(Arc::clone(&ca.signers));
                (ca.issue(&[NAME]), Arc::new(Pinned { signers, cores }))
            }
            Place::Vault => {
                let key = vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::Tls).unwrap();
                let signer = vault.csr_signer(&key).unwrap();
                let certificate = ca.issue_to(&[NAME], &signer, key, DAY);
                (certificate, Arc::new(Pinned { signers: vault.clone(), cores }))
            }
        };
        let before = edge_threads();
        let house = house::House::signed_by(signers, ca, sites, limits, vec![certificate]);
        let mut threads = edge_threads();
        threads.retain(|thread| !before.contains(thread));
        let vault = (place == Place::Vault).then(|| vault.clone());
        if let Some(vault) = &vault {
            threads.extend(tasks(&format!("/proc/{}/task", vault.status().pid)));
        }
        let client = client(&house, group);
        Self { house, vault, threads, client, rounds: Vec::new() }
    }

    /// `at_once` clients for each worker, for so long.
    pub(crate) fn round(&mut self, workers: usize, at_once: usize, time: Duration) {
        let (stop, begin) = (AtomicBool::new(false), Barrier::new(workers + 1));
        let before = self.figures();
        let (mut cpu, mut took) = (0.0, Duration::ZERO);
        let latencies: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    scope.spawn(|| {
                        begin.wait();
                        clients(&self.client, self.house.https, at_once, &stop)
                    })
                })
                .collect();
            begin.wait();
            let (from, begun) = (self.cpu(), Instant::now());
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            let all = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            (cpu, took) = (self.cpu() - from, begun.elapsed());
            all
        });
        let count = latencies.len() as f64;
        let (signed, together) = self.figures();
        let (signed, together) = (signed - before.0, together - before.1);
        self.rounds.push(Round {
            cpu_us: cpu / count,
            per_second: count / took.as_secs_f64(),
            latencies,
            together: together as f64 / signed.max(1) as f64,
        });
    }

    pub(crate) fn shown(&mut self) -> Shown {
        let rounds = std::mem::take(&mut self.rounds);
        let median = |pick: fn(&Round) -> f64| percentile(rounds.iter().map(pick).collect(), 50);
        let latencies: Vec<f64> =
            rounds.iter().flat_map(|round| &round.latencies).copied().collect();
        Shown {
            cpu_us: median(|round| round.cpu_us),
            per_second: median(|round| round.per_second),
            p50_us: percentile(latencies.clone(), 50),
            p99_us: percentile(latencies, 99),
            together: median(|round| round.together),
        }
    }

    /// Signatures, and those that were asked for together.
    fn figures(&self) -> (u64, u64) {
        let figures = self.vault.as_ref().map(|vault| vault.ping().unwrap()).unwrap_or_default();
        (figures.signatures, figures.together)
    }

    /// CPU time of all that serves, in microseconds.
    fn cpu(&self) -> f64 {
        let threads = self.threads.iter().map(|thread| run_time(&thread.join("schedstat")));
        threads.sum::<Duration>().as_secs_f64() * 1e6
    }
}

/// Keys of a CA in memory.
#[derive(Debug)]
struct InProcess(Arc<memory::MemorySigners>);

impl Signers for InProcess {
    fn certified_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.0.certified_key(chain, key)
    }

    fn client_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.0.client_key(chain, key)
    }

    fn bind_worker(&self, index: usize, core: Option<usize>) {
        self.0.bind_worker(index, core);
    }
}

/// Clients that trust the house's CA, exchange keys in one way, and come for the first time.
fn client(house: &house::House, group: NamedGroup) -> Arc<ClientConfig> {
    let mut wanted = (*keyward::base::tls::provider()).clone();
    wanted.kx_groups.retain(|one| one.name() == group);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.ca.root()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(wanted))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    Arc::new(client)
}

fn tasks(directory: &str) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|task| task.unwrap().path()).collect()
}

/// The threads of edges in this process.
fn edge_threads() -> Vec<PathBuf> {
    let is_one = |task: &PathBuf| {
        std::fs::read_to_string(task.join("comm")).unwrap_or_default().starts_with("edge-")
    };
    tasks("/proc/self/task").into_iter().filter(is_one).collect()
}

/// So many clients on one thread, until they are to stop: how long each handshake took, in
/// microseconds, from the call for the connection on.
fn clients(
    config: &Arc<ClientConfig>,
    to: SocketAddr,
    at_once: usize,
    stop: &AtomicBool,
) -> Vec<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let one = || async {
        let mut latencies = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let stream = load::connect(config, to, NAME).await.unwrap();
            latencies.push(begun.elapsed().as_secs_f64() * 1e6);
            // Nothing is left behind in the kernel, whose ports are few.
            socket2::SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
        }
        latencies
    };
    let all = futures_util::future::join_all((0..at_once).map(|_| one()));
    runtime.block_on(all).into_iter().flatten().collect()
}
