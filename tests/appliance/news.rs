//! People are told of what happens: by webhook and by mail, at least once, whatever is killed meanwhile.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::Signal;
use ring::hmac;
use serde_json::Value;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::daemon::run;
use crate::origin::Origin;

const SECRET: &[u8] = b"a secret of thirty-two octets ok";

/// A service that takes what is posted, or not.
struct Service {
    url: String,
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<Posted>>>,
}

#[derive(Clone, Debug)]
struct Posted {
    line: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    status: u16,
}

impl Posted {
    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no {name} in {:?}", self.fields), |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it tells of something of this kind.
    fn tells(&self, kind: &str) -> bool {
        self.json()["news"].as_array().unwrap().iter().any(|one| one["kind"] == kind)
    }
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (status, got) = (Arc::new(AtomicU16::new(200)), Arc::<Mutex<Vec<Posted>>>::default());
        let (answered, all) = (Arc::clone(&status), Arc::clone(&got));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut bytes = Vec::new();
                let whole = loop {
                    let mut part = [0; 4096];
                    let Ok(read @ 1..) = stream.read(&mut part) else { break None };
                    bytes.extend_from_slice(&part[..read]);
                    if let Some(posted) = parse(&bytes) {
                        break Some(posted);
                    }
                };
                let Some(mut posted) = whole else { continue };
                posted.status = answered.load(Ordering::SeqCst);
                let status = posted.status;
                all.lock().unwrap().push(posted);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, status, got }
    }

    fn all(&self) -> Vec<Posted> {
        self.got.lock().unwrap().clone()
    }

    /// Those that were taken and tell of something of this kind.
    fn taken(&self, kind: &str) -> Vec<Posted> {
        let mut all = self.all();
        all.retain(|posted| posted.status == 200 && posted.tells(kind));
        all
    }
}

fn parse(bytes: &[u8]) -> Option<Posted> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let fields: Vec<(String, String)> = lines.map(field).collect();
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let body = bytes.get(head.len() + 4..)?.to_vec();
    (body.len() >= length).then_some(Posted { line, fields, body, status: 0 })
}

/// On this machine, but not the address that needs no TLS.
const HOST: &str = "127.0.0.2";

/// A keyward with one site of the internal CA and these tables, not started yet.
fn keyward(more: &str) -> (Keyward, Origin) {
    let origin = Origin::start();
    let address = origin.address;
    let site = format!(
        "{more}\n[[site]]\nnames = [\"told.internal\"]\norigin = \"http://{address}\"\nissuer = \"internal\"\n"
    );
    (Keyward::new("", &site), origin)
}

fn kill_vault(keyward: &Keyward) {
    let status = keyward.cli(&["status", "--json"]).json();
    let vault = i32::try_from(status["vault"]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(vault), Signal::SIGKILL).unwrap();
}

fn channel(keyward: &Keyward, name: &str) -> Value {
    let all = keyward.cli(&["notify", "--json"]).json();
    let all = all["channels"].as_array().unwrap().clone();
    all.into_iter().find(|one| one["name"] == name).unwrap()
}

#[test]
fn news_wait_for_a_service_that_is_away_over_a_kill_and_are_signed() {
    let (away, there) = (Service::start(), Service::start());
    away.status.store(503, Ordering::SeqCst);
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("secret");
    fs::write(&secret, format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET))).unwrap();
    let (mut keyward, _origin) = keyward(&format!(
        "[[notify]]\nname = \"away\"\nwebhook = \"{}\"\nsecret_file = \"{}\"\n\
         [[notify]]\nname = \"there\"\nwebhook = \"{}\"\nlevel = \"info\"\n",
        away.url,
        secret.display(),
        there.url
    ));
    keyward.start();
    keyward.wait_issued("told.internal");
    kill_vault(&keyward);
    let minute = Duration::from_secs(60);
    // The one does not wait for the other.
    eventually("it is told where it is taken", minute, || {
        let told = !there.taken("vault-restarted").is_empty();
        (told && !there.taken("installed").is_empty()).then_some(())
    });
    eventually("it is tried where it is not", minute, || (away.all().len() >= 2).then_some(()));
    let tried = away.all();
    // Whoever took it half sees that it is the same.
    assert_eq!(tried[0].field("webhook-id"), tried[1].field("webhook-id"));
    assert_eq!(tried[0].body, tried[1].body);
    assert!(tried[0].line.starts_with("POST /hook "), "{}", tried[0].line);
    let view = eventually("status says so", minute, || {
        let view = channel(&keyward, "away");
        (view["failures"].as_u64() >= Some(2)).then_some(view)
    });
    assert_eq!(view["reason"], "the answer is 503");
    assert!(keyward.cli(&["notify"]).ok().contains("503"));

    keyward.kill9();
    away.status.store(200, Ordering::SeqCst);
    let before = away.all().len();
    keyward.start();
    let told = eventually("it is told after all", minute, || {
        away.taken("vault-restarted").into_iter().next()
    });
    // What matters less is for the other channel only.
    assert!(!told.tells("installed") && !told.tells("started"));
    let message = [
        told.field("webhook-id").as_bytes(),
        b".",
        told.field("webhook-timestamp").as_bytes(),
        b".",
        &told.body,
    ]
    .concat();
    let signature = told.field("webhook-signature").strip_prefix("v1,").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::verify(&key, &message, &BASE64_STANDARD.decode(signature).unwrap()).unwrap();
    eventually("nothing waits any more", minute, || {
        let view = channel(&keyward, "away");
        (view["waiting"] == 0 && view["failures"] == 0).then_some(())
    });
    let since: Vec<Posted> = away.all().split_off(before);
    let times = since.iter().filter(|posted| posted.tells("vault-restarted")).count();
    assert_eq!(times, 1, "told once: {since:#?}");
    // The secret is nowhere but in its file.
    let log = keyward.log();
    assert!(!log.contains("whsec_") && !log.contains(&BASE64_STANDARD.encode(SECRET)), "{log}");

    let unknown = keyward.cli(&["notify", "test", "nobody"]);
    assert!(!unknown.status.success() && unknown.err.contains("nobody"), "{unknown:#?}");
    keyward.cli(&["notify", "test", "there"]).ok();
    let last = there.all().pop().unwrap();
    assert!(last.json()["text"].as_str().unwrap().contains("trial"), "{}", last.json());
}

#[test]
fn a_channel_that_comes_with_a_reload_tells_what_happens_from_then_on() {
    let service = Service::start();
    let (mut keyward, _origin) = keyward("");
    keyward.start();
    keyward.wait_issued("told.internal");
    let said = keyward.cli(&["notify"]).ok();
    assert!(said.contains("nobody is told"), "{said}");
    let table = format!(
        "[[notify]]\nname = \"late\"\nwebhook = \"{}\"\nlevel = \"info\"\n[[site]]",
        service.url
    );
    keyward.edit("[[site]]", &table);
    keyward.cli(&["reload"]).ok();
    kill_vault(&keyward);
    eventually("it is told", Duration::from_secs(60), || {
        (!service.taken("vault-restarted").is_empty()).then_some(())
    });
    assert!(service.taken("installed").is_empty(), "that was before");
    // And one that goes is not told any more, though something waits for it.
    service.status.store(500, Ordering::SeqCst);
    kill_vault(&keyward);
    eventually("it waits", Duration::from_secs(60), || {
        (channel(&keyward, "late")["waiting"].as_u64() > Some(0)).then_some(())
    });
    keyward.edit(&table, "[[site]]");
    keyward.cli(&["reload"]).ok();
    eventually("it is forgotten", Duration::from_secs(60), || {
        keyward.log().contains("news of channels that are gone").then_some(())
    });
    let taken = service.taken("vault-restarted").len();
    service.status.store(200, Ordering::SeqCst);
    keyward.edit("[[site]]", &table);
    keyward.cli(&["reload"]).ok();
    // It may be told that it was deaf, which the journal may have got only now; not what waited for it.
    eventually("nothing waits", Duration::from_secs(60), || {
        (channel(&keyward, "late")["waiting"] == 0).then_some(())
    });
    assert_eq!(service.taken("vault-restarted").len(), taken);
}

#[test]
fn a_certificate_that_runs_out_is_told_of_before_and_after() {
    let service = Service::start();
    let (mut keyward, _origin) = keyward(&format!(
        "[[notify]]\nname = \"hook\"\nwebhook = \"{}\"\nevents = [\"expiring\", \"expired\"]\n\
         about = [\"brought.example\"]\n",
        service.url
    ));
    keyward.start();
    keyward.wait_issued("told.internal");
    // Good for forty more seconds of two hundred: its last fifth begins.
    let files = tempfile::tempdir().unwrap();
    let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    let now = std::time::SystemTime::now();
    let mut params = rcgen::CertificateParams::new(vec!["brought.example".to_owned()]).unwrap();
    params.not_before = (now - Duration::from_secs(150)).into();
    params.not_after = (now + Duration::from_secs(40)).into();
    let pair = rcgen::KeyPair::generate().unwrap();
    fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    keyward.cli(&["import", "--cert", cert, "--key", key]).ok();
    let limit = Duration::from_secs(120);
    let expiring =
        eventually("its end is told ahead", limit, || service.taken("expiring").into_iter().next());
    let one = expiring.json()["news"][0].clone();
    assert_eq!(one["name"], "brought.example");
    let told = one["message"].as_str().unwrap();
    assert!(told.contains("runs out at") && told.contains("not renewed here"), "{told}");
    eventually("and when it is there", limit, || service.taken("expired").into_iter().next());
    // Not again after a restart.
    let before = service.all().len();
    assert!(keyward.terminate().success());
    keyward.start();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(service.all().len(), before);
}

/// A mail server with a certificate of its own, which keeps what it takes in a directory.
struct MailServer {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl MailServer {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        fs::write(path("cert.pem"), params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(path("key.pem"), pair.serialize_pem()).unwrap();
        let port = free_port();
        let child = Command::new("aiosmtpd")
            .args(["-n", "-l", &format!("{HOST}:{port}")])
            .arg("--tlscert")
            .arg(path("cert.pem"))
            .arg("--tlskey")
            .arg(path("key.pem"))
            .args(["-c", "aiosmtpd.handlers.Mailbox"])
            .arg(path("box"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the mail server listens", Duration::from_secs(30), || {
            std::net::TcpStream::connect((HOST, port)).ok().map(drop)
        });
        Self { child, port, dir }
    }

    fn mails(&self) -> Vec<String> {
        let Ok(all) = fs::read_dir(self.dir.path().join("box/new")) else { return Vec::new() };
        all.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn mail_goes_under_tls_to_a_server_that_is_believed_and_to_no_other() {
    let server = MailServer::start();
    let good = server.dir.path().join("cert.pem");
    let other = server.dir.path().join("other.pem");
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    fs::write(&other, params.self_signed(&pair).unwrap().pem()).unwrap();
    let table = |channel: &str, ca: &Path| {
        format!(
            "[[notify]]\nname = \"{channel}\"\nmail = [\"ops@example.org\", \"on-call@example.org\"]\n\
             from = \"keyward@example.org\"\nsmtp = \"smtp://{HOST}:{}\"\nca_root = \"{}\"\n",
            server.port,
            ca.display()
        )
    };
    let (mut keyward, _origin) =
        keyward(&format!("{}{}", table("good", &good), table("other", &other)));
    keyward.start();
    let refused = keyward.cli(&["notify", "test", "other"]);
    assert!(!refused.status.success(), "{refused:#?}");
    assert!(refused.err.contains("certificate"), "{refused:#?}");
    assert_eq!(server.mails(), Vec::<String>::new());
    keyward.cli(&["notify", "test", "good"]).ok();
    let mail = server.mails().pop().unwrap();
    for line in [
        "From: keyward@example.org",
        "To: ops@example.org, on-call@example.org",
        "Auto-Submitted: auto-generated",
        "this is a trial of the channel \"good\": it works",
    ] {
        assert!(mail.contains(line), "{line} is not in\n{mail}");
    }
    keyward.wait_issued("told.internal");
    kill_vault(&keyward);
    let mail = eventually("the news is in a mail", Duration::from_secs(60), || {
        server.mails().into_iter().find(|mail| mail.contains("vault-restarted"))
    });
    assert!(mail.contains("Importance: high") && mail.contains("URGENT: "), "{mail}");
}

#[test]
fn the_heart_beats_while_all_is_well_and_not_when_the_disk_is_full() {
    let service = Service::start();
    let (mut keyward, _origin) =
        keyward(&format!("[heartbeat]\nurl = \"{}\"\nevery = \"10s\"\n", service.url));
    keyward.start();
    let limit = Duration::from_secs(60);
    let beats = || service.all().len();
    eventually("it beats", limit, || (beats() >= 2).then_some(()));
    assert!(service.all()[0].line.starts_with("GET /hook "), "{}", service.all()[0].line);
    let fill = |limit: &str| {
        let pid = keyward.pid().to_string();
        let mut prlimit = Command::new("prlimit");
        run(prlimit.args(["--pid", &pid, &format!("--fsize={limit}:unlimited")])).ok();
    };
    fill("4096");
    eventually("it says why it stops", limit, || {
        keyward.log().contains("the heartbeat is left out").then_some(())
    });
    let before = beats();
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(beats(), before);
    fill("unlimited");
    eventually("it beats again", limit, || (beats() > before).then_some(()));
}
