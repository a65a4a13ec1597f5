//! What the vault costs a full TLS 1.3 handshake, against the same key in the server's process.
//!
//! Server CPU only: clients work outside the measured stretches. For the vault its process's CPU
//! is added. Rounds of all designs are interleaved, so that a busy machine is unjust to all of
//! them alike, and medians are printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark ends at its first surprise"
)]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use keyward::base::tls::provider;
use keyward::cert::chain::Chain;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Signers;
use keyward::os::affinity;
use keyward::vault::MasterKeySource;
use keyward::vault::Vault;
use keyward::vault::VaultOptions;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;

const ROUNDS: usize = 15;
const BATCH: usize = 200;

/// How one design performed in one round, for each handshake.
#[derive(Clone, Copy)]
struct Sample {
    cpu_us: f64,
    wall_us: f64,
}

struct Design {
    name: &'static str,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    vault: Option<Vault>,
    core: Option<usize>,
    samples: Vec<Sample>,
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let cores = affinity::allowed_cores().unwrap();
    let core = cores.first().copied();
    let vault = |core: Option<usize>| {
        Vault::start(VaultOptions {
            exe: Path::new(env!("CARGO_BIN_EXE_keyward")).to_owned(),
            master: MasterKeySource::CreateIfMissing(dir.path().join("master.key")),
            cache_bytes: 1 << 20,
            workers: 1,
            cores: vec![core],
            gates: true,
            strict: false,
        })
        .unwrap()
    };
    let (pinned, loose) = (vault(core), vault(None));
    println!("{} cores; {ROUNDS} interleaved rounds of {BATCH} handshakes; medians", cores.len());
    println!("| key | design | CPU us | against in-process | wall us | against in-process |");
    println!("|---|---|---|---|---|---|");
    for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa2048] {
        let design = |name, vault: Option<&Vault>, core| {
            let (server, client) = site(algorithm, &pinned, vault);
            Design { name, server, client, vault: vault.cloned(), core, samples: Vec::new() }
        };
        let mut designs = [
            design("key in process", None, core),
            design("vault, own channel, same core", Some(&pinned), core),
            design("vault, own channel, any core", Some(&loose), None),
        ];
        for _ in 0..ROUNDS {
            for design in &mut designs {
                let sample = std::thread::scope(|scope| {
                    scope.spawn(|| round(design)).join().expect("a round does not panic")
                });
                design.samples.push(sample);
            }
        }
        let base = designs.first().map(medians).unwrap();
        for design in &designs {
            let Sample { cpu_us, wall_us } = medians(design);
            println!(
                "| {algorithm} | {} | {cpu_us:.1} | {:+.1} % | {wall_us:.1} | {:+.1} % |",
                design.name,
                (cpu_us / base.cpu_us - 1.0) * 100.0,
                (wall_us / base.wall_us - 1.0) * 100.0,
            );
        }
    }
}

fn medians(design: &Design) -> Sample {
    let median = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = design.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap()
    };
    Sample { cpu_us: median(|sample| sample.cpu_us), wall_us: median(|sample| sample.wall_us) }
}

/// One batch on a fresh thread, bound as a worker would be.
fn round(design: &Design) -> Sample {
    match (&design.vault, design.core) {
        (Some(vault), core) => vault.bind_worker(0, core),
        (None, Some(core)) => affinity::bind_thread(core).unwrap(),
        (None, None) => {}
    }
    let _warmed_up = batch(design, 20);
    let pid = design.vault.as_ref().map(|vault| vault.status().pid);
    let vault_before = pid.map_or(Duration::ZERO, process_cpu);
    let (cpu, wall) = batch(design, BATCH);
    let vault_cpu = pid.map_or(Duration::ZERO, process_cpu).saturating_sub(vault_before);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / BATCH as f64;
    Sample { cpu_us: each(cpu + vault_cpu), wall_us: each(wall) }
}

/// `count` handshakes; the thread's CPU and the time of the server's part.
fn batch(design: &Design, count: usize) -> (Duration, Duration) {
    let mut clients: Vec<(ClientConnection, Vec<u8>)> = (0..count)
        .map(|_| {
            let name = "site.example".try_into().unwrap();
            let mut client = ClientConnection::new(Arc::clone(&design.client), name).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            (client, hello)
        })
        .collect();
    let mut cpu = Duration::ZERO;
    let mut wall = Duration::ZERO;
    let mut servers = Vec::with_capacity(count);
    measured(&mut cpu, &mut wall, || {
        for (_, hello) in &clients {
            let mut server = ServerConnection::new(Arc::clone(&design.server)).unwrap();
            feed(hello, |bytes| server.read_tls(bytes));
            server.process_new_packets().unwrap();
            let mut flight = Vec::with_capacity(4096);
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            servers.push((server, flight));
        }
    });
    for ((client, answer), (_, flight)) in clients.iter_mut().zip(&servers) {
        feed(flight, |bytes| client.read_tls(bytes));
        client.process_new_packets().unwrap();
        answer.clear();
        while client.wants_write() {
            client.write_tls(answer).unwrap();
        }
    }
    measured(&mut cpu, &mut wall, || {
        for ((_, answer), (server, _)) in clients.iter().zip(&mut servers) {
            feed(answer, |bytes| server.read_tls(bytes));
            server.process_new_packets().unwrap();
            assert!(!server.is_handshaking());
        }
    });
    (cpu, wall)
}

fn measured(cpu: &mut Duration, wall: &mut Duration, work: impl FnOnce()) {
    let (cpu_before, wall_before) = (thread_cpu(), Instant::now());
    work();
    *wall += wall_before.elapsed();
    *cpu += thread_cpu().saturating_sub(cpu_before);
}

/// CPU time of this thread. The kernel brings its count up to date at a yield.
fn thread_cpu() -> Duration {
    std::thread::yield_now();
    run_time(Path::new("/proc/thread-self/schedstat"))
}

/// CPU time of all threads of a process.
fn process_cpu(pid: u32) -> Duration {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|thread| run_time(&thread.unwrap().path().join("schedstat")))
        .sum()
}

fn run_time(schedstat: &Path) -> Duration {
    let text = std::fs::read_to_string(schedstat).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

/// A site with a key of this kind, in `vault` or in this process; its certificate is of a CA
/// whose key is in `ca_vault`.
fn site(
    algorithm: KeyAlgorithm,
    ca_vault: &Vault,
    vault: Option<&Vault>,
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let ca = ca_vault.generate_blocking(KeyAlgorithm::P256, KeyUsage::InternalCa).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signer = ca_vault.csr_signer(&ca).unwrap();
    let issuer = rcgen::CertifiedIssuer::self_signed(params, signer).unwrap();
    let params = rcgen::CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
    let certified = match vault {
        Some(vault) => {
            let key = vault.generate_blocking(algorithm, KeyUsage::Tls).unwrap();
            let leaf = params.signed_by(&vault.csr_signer(&key).unwrap(), &issuer).unwrap();
            let chain = Chain::from_der(vec![leaf.der().to_vec()]).unwrap();
            vault.certified_key(&chain, &key).unwrap()
        }
        None => {
            let pkcs8 = keyward::vault::keys::generate(algorithm).unwrap();
            let key = rcgen::KeyPair::try_from(pkcs8.as_slice()).unwrap();
            let leaf = params.signed_by(&key, &issuer).unwrap();
            let der = PrivateKeyDer::try_from(pkcs8.to_vec()).unwrap();
            // The faster library for each kind, as in the vault.
            let provider = match algorithm {
                KeyAlgorithm::P384 => rustls::crypto::aws_lc_rs::default_provider(),
                KeyAlgorithm::P256 | KeyAlgorithm::Rsa2048 => {
                    rustls::crypto::ring::default_provider()
                }
            };
            let key = provider.key_provider.load_private_key(der).unwrap();
            Arc::new(CertifiedKey::new(vec![leaf.der().clone()], key))
        }
    };
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.send_tls13_tickets = 0;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    (Arc::new(server), Arc::new(client))
}
