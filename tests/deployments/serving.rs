//! Certificates are brought to a server of its own right, seen there, brought again at each renewal, and
//! put right after a kill between the files and the news of them.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use keyward::cert::deployment::Leaf;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::origin::Origin;

const NAME: &str = "mail.internal";
const PATIENCE: Duration = Duration::from_secs(120);

/// A TLS server that reads its files only when the file `told` is made, which a process of its own does
/// upon SIGUSR1.
struct Server {
    port: u16,
    told: PathBuf,
    pid_file: PathBuf,
    hears: Child,
    shown: Arc<Mutex<Option<Leaf>>>,
}

impl Server {
    fn start(dir: &Path, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (told, shown) = (dir.join("told"), Arc::<Mutex<Option<Leaf>>>::default());
        let (pair, news, leaf) = (dir.join("out/current"), told.clone(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut present = None;
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                if fs::remove_file(&news).is_ok() {
                    present = read(&pair);
                    *leaf.lock().unwrap() = present.as_ref().map(|(_, leaf)| *leaf);
                }
                let Some((config, _)) = &present else { continue };
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
                let _whoever_goes = tls.complete_io(&mut stream);
            }
        });
        let pid_file = dir.join("pid");
        let script =
            "trap 'touch \"$0\"' USR1; echo $$ > \"$1\"; while :; do sleep 0.1 & wait $!; done";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).args([&told, &pid_file]).stdin(Stdio::null());
        let hears = command.spawn().unwrap();
        let written = || fs::read_to_string(&pid_file).ok().filter(|text| text.ends_with('\n'));
        eventually("it hears", PATIENCE, written);
        Self { port, told, pid_file, hears, shown }
    }

    fn target(&self, dir: &Path, more: &str) -> String {
        let (port, pid, dir) = (self.port, self.pid_file.display(), dir.display());
        format!(
            "[[target]]\nname = \"mail\"\nkind = \"files\"\ndir = \"{dir}/out\"\n\
             probe = \"tls://127.0.0.1:{port}\"\nreload = \"signal:USR1:{pid}\"\n{more}\n"
        )
    }

    fn shown(&self) -> Option<String> {
        self.shown.lock().unwrap().map(|leaf| leaf.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.hears.kill();
        let _ended = self.hears.wait();
    }
}

/// The pair as it lies there, if it is one.
fn read(dir: &Path) -> Option<(Arc<ServerConfig>, Leaf)> {
    let chain = CertificateDer::pem_file_iter(dir.join("fullchain.pem")).ok()?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_file(dir.join("privkey.pem")).ok()?;
    let leaf = Leaf::of(chain.first()?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .ok()?;
    Some((Arc::new(config), leaf))
}

fn one(keyward: &Keyward) -> Option<Value> {
    let said = keyward.cli(&["--json", "deployments"]).json();
    said["deployments"].as_array().unwrap().first().cloned()
}

fn verified(keyward: &Keyward) -> Value {
    eventually("it is verified", PATIENCE, || {
        one(keyward).filter(|one| one["state"] == "verified" && one["seen"] == one["wanted"])
    })
}

fn keyward(site: &str, target: &str) -> Keyward {
    let keyward = Keyward::new("", site);
    let text = fs::read_to_string(keyward.config()).unwrap();
    fs::write(keyward.config(), format!("{text}\n{target}")).unwrap();
    keyward
}

fn site(origin: &Origin) -> String {
    let address = &origin.address;
    format!("[[site]]\nnames = [\"{NAME}\"]\nexportable = true\norigin = \"http://{address}\"\n")
}

#[test]
fn a_server_of_its_own_right_shows_what_was_renewed_here_and_what_was_asked_for_ends() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("out")).unwrap();
    let server = Server::start(dir.path(), free_port());
    let target = server.target(dir.path(), "");
    let mut keyward = keyward(&site(&origin), &format!("[deployment]\nwatch = \"1s\"\n{target}"));
    keyward.start();
    eventually("it is issued", PATIENCE, || keyward.served_serial(NAME));
    assert_eq!(one(&keyward), None);
    let said = keyward.cli(&["deploy", NAME, "--to", "mail"]).ok();
    assert!(said.contains("target mail has mail.internal and shows it"), "{said}");
    let first = verified(&keyward);
    assert_eq!(first["made"], "asked");
    assert_eq!(server.shown().as_deref(), first["wanted"].as_str());

    keyward.cli(&["renew", NAME]).ok();
    let second = eventually("its successor is shown", PATIENCE, || {
        Some(verified(&keyward)).filter(|one| one["wanted"] != first["wanted"])
    });
    assert_eq!(server.shown().as_deref(), second["seen"].as_str());

    // Somebody else changes what is there: it is noticed and put right.
    let other = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let current = fs::canonicalize(dir.path().join("out/current")).unwrap();
    fs::write(current.join("fullchain.pem"), other.cert.pem()).unwrap();
    fs::write(current.join("privkey.pem"), other.signing_key.serialize_pem()).unwrap();
    fs::write(&server.told, "").unwrap();
    eventually("it is told of", PATIENCE, || {
        Some(keyward.cli(&["events"]).ok()).filter(|events| events.contains("drifted"))
    });
    eventually("it is put right", PATIENCE, || {
        server.shown().filter(|leaf| Some(leaf.as_str()) == second["wanted"].as_str())
    });
    verified(&keyward);
    keyward.cli(&["deployments", "--probe"]).ok();

    let refused = keyward.cli(&["deploy", NAME, "--to", "nowhere"]);
    assert!(!refused.status.success() && refused.err.contains("[[target]]"), "{refused:?}");
    keyward.cli(&["undeploy", NAME, "--from", "mail"]).ok();
    assert_eq!(one(&keyward), None);
    assert!(keyward.cli(&["events"]).ok().contains("undeployed"));
    assert!(server.shown().is_some());
}

#[test]
fn what_was_killed_between_the_files_and_the_news_is_verified_after_the_next_start() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("out")).unwrap();
    let server = Server::start(dir.path(), free_port());
    let target = server.target(dir.path(), &format!("certificates = [\"{NAME}\"]"));
    let mut keyward = keyward(&site(&origin), &target);
    // The files are there, and nobody was told.
    keyward.with_env("KEYWARD_CRASH_AT", "hand-placed");
    keyward.start();
    eventually("the files are there", PATIENCE, || read(&dir.path().join("out/current")));
    keyward.kill9();
    assert_eq!(server.shown(), None, "nobody was told");
    keyward.without_env("KEYWARD_CRASH_AT");
    keyward.start();
    let one = verified(&keyward);
    assert_eq!(one["made"], "file");
    assert_eq!(server.shown().as_deref(), one["wanted"].as_str());
}
