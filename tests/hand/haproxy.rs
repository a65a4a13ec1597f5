//! A real HAProxy is told over its socket, shows the new pair to the next client without a reload, and
//! has the old one again where the new one does not stay.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use keyward::cert::chain::Chain;
use keyward::deploy::hand::Stage;

use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::daemon::run;
use crate::scene::Made;
use crate::scene::Scene;

struct Haproxy {
    child: Child,
    port: u16,
}

impl Haproxy {
    /// One that reads `out/site.pem`.
    fn start(scene: &Scene) -> Self {
        let port = free_port();
        let socket = socket(scene);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let text = format!(
            "global\n  stats socket {} mode 600 level admin\n  maxconn 50\n\
             defaults\n  mode http\n  timeout connect 30s\n  timeout client 30s\n  timeout server 30s\n\
             frontend one\n  bind 127.0.0.1:{port} ssl crt {}\n  http-request return status 200\n",
            socket.display(),
            scene.path("out/site.pem").display(),
        );
        let config = scene.path("etc/haproxy.cfg");
        fs::write(&config, text).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(scene.path("log/haproxy")).unwrap())
            .spawn()
            .unwrap();
        let haproxy = Self { child, port };
        eventually("HAProxy serves", Duration::from_secs(60), || haproxy.serial());
        haproxy
    }

    /// What a client sees.
    fn serial(&self) -> Option<String> {
        let said = run(Command::new("sh").arg("-c").arg(format!(
            "openssl s_client -connect 127.0.0.1:{} </dev/null 2>/dev/null | openssl x509",
            self.port
        )));
        Some(Chain::from_pem(said.out.as_bytes()).ok()?.leaf().ok()?.serial)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn socket(scene: &Scene) -> std::path::PathBuf {
    scene.path("run/admin.sock")
}

fn both(made: &Made) -> String {
    made.key.clone() + &made.chain_pem()
}

fn prepare() -> (Scene, Made) {
    let scene = Scene::new();
    scene.target(&format!(
        "kind = \"haproxy\"\nprobe = \"none\"\nsocket = \"{}\"\nfile = \"OUT/site.pem\"",
        socket(&scene).display()
    ));
    let first = scene.pair();
    // With an empty line in it, which would end a command of the socket.
    let text = first.chain_pem() + "\n\n" + &first.key;
    fs::write(scene.path("out/site.pem"), text).unwrap();
    (scene, first)
}

#[test]
fn it_takes_a_pair_without_a_reload_and_what_it_had_again() {
    let (scene, first) = prepare();
    let haproxy = Haproxy::start(&scene);
    assert_eq!(haproxy.serial(), Some(first.serial()));
    let (second, third) = (scene.pair(), scene.pair());
    // Put back to what was not ours.
    let placed = scene.carry(&second).unwrap();
    assert_eq!(haproxy.serial(), Some(second.serial()));
    placed.put_back().unwrap();
    assert_eq!(haproxy.serial(), Some(first.serial()));
    scene.bring(&second);
    assert_eq!(haproxy.serial(), Some(second.serial()));
    assert_eq!(scene.text("site.pem"), both(&second));
    assert_eq!(scene.mode("site.pem"), 0o600);
    let placed = scene.carry(&third).unwrap();
    assert_eq!(haproxy.serial(), Some(third.serial()));
    placed.put_back().unwrap();
    assert_eq!(haproxy.serial(), Some(second.serial()));
    assert_eq!(scene.text("site.pem"), both(&second));
    // The file is what it has when it starts again.
    drop(haproxy);
    scene.target(&format!(
        "kind = \"haproxy\"\nprobe = \"none\"\nsocket = \"{}\"\nfile = \"OUT/site.pem\"",
        socket(&scene).display()
    ));
    let again = Haproxy::start(&scene);
    assert_eq!(again.serial(), Some(second.serial()));
}

#[test]
fn what_it_does_not_take_is_told_and_the_file_is_as_it_was() {
    let (scene, first) = prepare();
    let before = scene.text("site.pem");
    let error = scene.carry(&scene.pair()).unwrap_err();
    assert_eq!(error.stage, Stage::TakeUp);
    assert!(error.reason.contains("run: No such file"), "{error}");
    assert_eq!(scene.text("site.pem"), before);
    let haproxy = Haproxy::start(&scene);
    // Somebody else is at it.
    let ask = |command: &str| {
        let mut stream = UnixStream::connect(socket(&scene)).unwrap();
        stream.write_all(command.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let path = scene.path("out/site.pem");
    // A certificate of which its configuration knows nothing.
    scene.target(&format!(
        "kind = \"haproxy\"\nprobe = \"none\"\nsocket = \"{}\"\nfile = \"OUT/other.pem\"",
        socket(&scene).display()
    ));
    let error = scene.carry(&scene.pair()).unwrap_err();
    assert_eq!((error.stage, error.as_it_was), (Stage::TakeUp, true), "{error}");
    assert!(error.reason.contains("HAProxy does not take it: "), "{error}");
    assert!(!scene.path("out/other.pem").exists());
    assert_eq!(haproxy.serial(), Some(first.serial()));
    // No transaction is left that would be in the way of others.
    let answer = ask(&format!("abort ssl cert {}\n", path.display()));
    assert!(answer.contains("No ongoing transaction"), "{answer}");
}
