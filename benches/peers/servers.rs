//! The servers that are compared: keyward as it is installed, and those of Debian that are there.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::daemon;

/// The site that all of them serve.
pub(crate) const NAME: &str = "a.internal";

/// The core of the servers; load and origin have the other one.
const CORE: &str = "0";

/// A server at work; dropped, it ends.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    /// Who signs for it.
    pub(crate) root: CertificateDer<'static>,
    running: Running,
}

enum Running {
    Keyward(daemon::Keyward),
    Peer(Child),
}

/// A peer: its program, how it tells its version, and how it is started with its configuration.
struct Peer {
    name: &'static str,
    version: &'static str,
    arguments: &'static [&'static str],
    file: &'static str,
    configuration: &'static str,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "nginx",
        version: "-v",
        arguments: &["-p", "DIR", "-e", "stderr", "-c"],
        file: "nginx.conf",
        configuration: include_str!("nginx.conf"),
    },
    Peer {
        name: "haproxy",
        version: "-v",
        arguments: &["-f"],
        file: "haproxy.cfg",
        configuration: include_str!("haproxy.cfg"),
    },
    Peer {
        name: "caddy",
        version: "version",
        arguments: &["run", "--adapter", "caddyfile", "--config"],
        file: "Caddyfile",
        configuration: include_str!("Caddyfile"),
    },
];

/// keyward, and after it all peers that are installed.
pub(crate) fn all(dir: &Path, origin: SocketAddr) -> Vec<Server> {
    let root = certificate(dir);
    let mut all = vec![keyward(origin)];
    for peer in &PEERS {
        let version = Command::new(peer.name).arg(peer.version).output();
        match version {
            Ok(said) => {
                let text = [said.stdout, said.stderr].concat();
                let text = String::from_utf8_lossy(&text).lines().next().unwrap_or("").to_owned();
                all.push(start(peer, text, dir, origin, root.clone()));
            }
            Err(error) => println!("{} is left out: {error}", peer.name),
        }
    }
    all
}

/// A P-256 certificate for the peers, of a CA of its own, in the files that they want.
fn certificate(dir: &Path) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let (chain, key) = (leaf.pem(), key.serialize_pem());
    fs::write(dir.join("chain.pem"), &chain).unwrap();
    fs::write(dir.join("key.pem"), &key).unwrap();
    fs::write(dir.join("both.pem"), chain + &key).unwrap();
    issuer.der().clone()
}

/// With its isolation, as it is by itself, except that one client may be everybody.
fn keyward(origin: SocketAddr) -> Server {
    let site = format!(
        "[[site]]\nnames = [\"{NAME}\"]\norigin = \"http://{origin}\"\n\
         [edge]\nworkers = 1\nnetwork_share = 100\nhandshake_share = 100\n"
    );
    let mut house = daemon::Keyward::new("", &site);
    house.edit("level = \"debug\"", "level = \"warn\"");
    house.spawn_through("taskset", &["-c", CORE]);
    house.wait_ready();
    let root = CertificateDer::from_pem_slice(house.cli(&["trust", "--print"]).ok().as_bytes());
    daemon::eventually("the site has its certificate", Duration::from_secs(30), || {
        house.certificate(NAME).filter(|shown| !shown["installed"].is_null())
    });
    let address = SocketAddr::from(([127, 0, 0, 1], house.https));
    let version = format!("keyward {}", env!("CARGO_PKG_VERSION"));
    Server {
        name: "keyward",
        version,
        address,
        root: root.unwrap(),
        running: Running::Keyward(house),
    }
}

fn start(
    peer: &Peer,
    version: String,
    dir: &Path,
    origin: SocketAddr,
    root: CertificateDer<'static>,
) -> Server {
    let port = daemon::free_port();
    let place = dir.display().to_string();
    let text = peer
        .configuration
        .replace("DIR", &place)
        .replace("PORT", &port.to_string())
        .replace("ORIGIN", &origin.to_string());
    let file = dir.join(peer.file);
    fs::write(&file, text).unwrap();
    let child = Command::new("taskset")
        .args(["-c", CORE, peer.name])
        .args(peer.arguments.iter().map(|one| one.replace("DIR", &place)))
        .arg(&file)
        // One core, so one of what Go has for each core.
        .env("GOMAXPROCS", "1")
        .env("HOME", dir)
        .stdin(Stdio::null())
        .stdout(fs::File::create(dir.join(format!("{}.out", peer.name))).unwrap())
        .stderr(fs::File::create(dir.join(format!("{}.err", peer.name))).unwrap())
        .spawn()
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let running = Running::Peer(child);
    let server = Server { name: peer.name, version, address, root, running };
    daemon::eventually("a peer listens", Duration::from_secs(20), || {
        TcpStream::connect(address).ok()
    });
    server
}

impl Server {
    /// The processes of this server.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut all = vec![match &self.running {
            Running::Keyward(house) => house.pid(),
            Running::Peer(child) => i32::try_from(child.id()).unwrap(),
        }];
        let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid: i32| Some((pid, parent(pid)?)))
            .collect();
        let mut at = 0;
        while let Some(&one) = all.get(at) {
            all.extend(parents.iter().filter(|(_, of)| *of == one).map(|(pid, _)| *pid));
            at += 1;
        }
        all
    }

    /// CPU of all its threads so far, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        let mut sum = 0.0;
        for pid in self.processes() {
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let line = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let spent = line.split(' ').next().and_then(|n| n.parse::<f64>().ok());
                sum += spent.unwrap_or_default() / 1000.0;
            }
        }
        sum
    }

    /// KiB of memory of its processes, those that are shared counted in parts.
    pub(crate) fn memory(&self) -> f64 {
        let of = |pid: i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with("Pss:")).map(str::to_owned);
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
            number.unwrap_or_default()
        };
        self.processes().into_iter().map(of).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Peer(child) = self {
            // In order, so that those whom it has started end as well.
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _reaped = child.wait();
        }
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may have anything in it: state, then parent.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
