//! Somebody has the vault sign over a stolen socket, for handshakes that nobody began.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use keyward::base::bounds;
use keyward::cert::key::KeyId;
use keyward::os::descriptors;
use keyward::vault::purpose::Purpose;
use keyward::vault::scheme::Scheme;
use keyward::vault::wire::Reply;
use keyward::vault::wire::Request;

use crate::daemon::eventually;
use crate::load::client_config;
use crate::load::connect;
use crate::scene::Scene;
use crate::scene::runtime;

/// Takes a copy of a descriptor of another process and goes on as the program that is named: what
/// a superuser, or whoever shares main's rights, can do. pidfd_open is 434, pidfd_getfd 438.
const STEAL: &str = r#"
    my ($pid, $number, @program) = @ARGV;
    my $process = syscall(434, $pid + 0, 0);
    my $stolen = syscall(438, $process, $number + 0, 0);
    die "not to be had: $!" if $stolen < 0;
    open(STDIN, "<&=", $stolen) or die;
    exec(@program) or die;
"#;

/// Does nothing unless this program was started as the thief: signs on standard input.
#[test]
fn thief() {
    let Ok(key) = std::env::var("KEYWARD_THIEF") else { return };
    let key = KeyId::from_hex(&key).unwrap();
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    descriptors::set_deadline(socket.as_fd(), Duration::from_secs(10)).unwrap();
    let mut message = vec![b' '; 64];
    message.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
    message.extend([7; 32]);
    let (purpose, scheme) = (Purpose::Tls13, Scheme::EcdsaP256Sha256);
    let mut frame = Vec::new();
    let mut answer = vec![0; 16 * 1024];
    for number in 0..2 * bounds::SIGN_EXCESS {
        // Numbers only grow; main has not come so far.
        let request = Request::Sign { key, purpose, scheme, message: &message, sealed: b"" };
        request.encode(1_000_000 + number, &mut frame).unwrap();
        descriptors::send(socket.as_fd(), &frame).unwrap();
        let len = descriptors::receive(socket.as_fd(), &mut answer).unwrap();
        let (_, reply) = Reply::decode(&answer[..len]).unwrap();
        assert!(matches!(reply, Reply::Signature(_)), "{reply:?}");
    }
    let _told = writeln!(std::io::stdout(), "\nstolen");
}

/// Main's socket to the desk that signs anything: of those that are made to greet a vault it is
/// made last, after that of the worker, and so has the highest number but for those to the porter and to those
/// who deploy.
fn work_socket(pid: i32) -> String {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let seqpackets: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // Num, RefCount, Protocol, Flags, Type, St, Inode.
        .filter(|fields| fields.get(4) == Some(&"0005"))
        .map(|fields| format!("socket:[{}]", fields[6]))
        .collect();
    let mut sockets: Vec<i32> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let target = std::fs::read_link(path).unwrap_or_default();
            seqpackets.iter().any(|name| target.to_str() == Some(name))
        })
        .map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    sockets.sort_unstable();
    let all = "keeper, control, a worker, work, a copy of control, porter, those who deploy";
    assert_eq!(sockets.len(), 7, "{all}");
    sockets[4].to_string()
}

#[test]
fn an_oracle_raises_the_alarm_and_busy_clients_do_not() {
    let mut scene = Scene::new("oracle.example");
    // HTTP/3 has such sockets too, for those who read on after an upgrade.
    scene.keyward.edit("[log]", "[edge]\nworkers = 1\nhttp3 = false\n\n[log]");
    scene.keyward.start();
    let key = scene.keyward.wait_issued("oracle.example")["installed"]["key"].clone();
    let key = key.as_str().unwrap().to_owned();
    let target = scene.target(false);
    let runtime = runtime();
    let _inside = runtime.enter();
    let busy = bounds::SIGN_EXCESS + 50;
    runtime.block_on(async {
        for _ in 0..busy {
            // Each client is a new one, so none is resumed.
            let config = client_config(&target.root, &[b"http/1.1"]);
            connect(&config, target.address, "oracle.example").await.unwrap();
        }
    });

    let signing = || scene.keyward.certificate("oracle.example").unwrap()["signing"].clone();
    let number = |view: &serde_json::Value, name: &str| view[name].as_u64().unwrap_or_default();
    let counted = eventually("every handshake is counted", Duration::from_secs(30), || {
        let seen = signing();
        (number(&seen, "signatures") == busy).then_some(seen)
    });
    assert_eq!(counted["signatures"], counted["handshakes"], "{counted:#}");
    assert!(number(&counted, "per_minute") > 0, "{counted:#}");
    let said = scene.keyward.cli(&["show", "oracle.example"]).ok();
    assert!(said.contains(" handshakes, ") && said.contains(" in a minute, since "), "{said}");
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert_eq!(status["vault"]["alarms"], serde_json::json!([]), "{status:#}");
    assert_eq!(status["vault"]["busiest"][0]["name"], "oracle.example", "{status:#}");
    let events = |kind: &str| {
        let said = scene.keyward.cli(&["events", "--json"]).ok();
        said.matches(&format!("\"kind\":\"{kind}\"")).count()
    };
    assert_eq!(events("key-alarm"), 0);

    if !nix::unistd::geteuid().is_root() {
        // Main's descriptors are nobody's but root's. tests/vault_counting.rs signs as well.
        return;
    }
    let pid = scene.keyward.pid();
    let output = Command::new("perl")
        .args(["-e", STEAL, &pid.to_string(), &work_socket(pid)])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "oracle::thief", "--nocapture"])
        .env("KEYWARD_THIEF", &key)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("stolen"),
        "{} {said}\n{complained}",
        output.status
    );

    let alarms = eventually("status tells the alarm", Duration::from_secs(30), || {
        let status = scene.keyward.cli(&["status", "--json"]).json();
        let alarms = status["vault"]["alarms"].as_array().unwrap().clone();
        (!alarms.is_empty()).then_some(alarms)
    });
    let told = alarms[0].as_str().unwrap();
    assert!(alarms.len() == 1 && told.contains(" of oracle.example has signed "), "{alarms:?}");
    assert!(scene.keyward.cli(&["status"]).ok().contains("\nalarm "));
    assert_eq!(events("key-alarm"), 1);
    assert!(scene.keyward.log().contains("a key signs far more than its handshakes"));
    // Once, and not at every look.
    let beyond = number(&signing(), "signatures") - number(&signing(), "handshakes");
    assert_eq!(beyond, 2 * bounds::SIGN_EXCESS);
    std::thread::sleep(bounds::SIGN_LOOK * 2);
    assert_eq!(events("key-alarm"), 1);
    assert_eq!(scene.keyward.log().matches("a key signs far more").count(), 1);
}
