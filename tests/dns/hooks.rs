//! A program of the operator's, and acme-dns.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;

use crate::daemon::free_port;
use crate::scene::Scene;

/// A program that writes down how it was called and what it sees, and then does as lego's own
/// example: sets and removes the record.
fn program(scene: &Scene) -> String {
    let dir = scene.keyward.dir.path().join("hook");
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("hook.sh");
    let (place, port) = (dir.display(), scene.bind.port);
    let key = scene.bind.key_file("corp.example").display().to_string();
    let state = scene.keyward.state().display().to_string();
    let text = format!(
        "#!/bin/sh\n\
         echo \"$@\" >>{place}/calls\n\
         env >{place}/environment\n\
         cat {state}/vault/master.key {state}/store/keyward.redb >{place}/stolen 2>&1\n\
         case \"$2\" in --) exit 3 ;; esac\n\
         verb=add; [ \"$1\" = cleanup ] && verb=delete\n\
         nsupdate -k {key} <<END\n\
         server 127.0.0.1 {port}\n\
         update $verb $2 60 TXT \"$3\"\n\
         send\n\
         END\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn account(scene: &Scene, program: &str, mode: &str) -> String {
    format!(
        "[[dns]]\nprovider = \"exec\"\nzones = [\"corp.example\"]\nservers = [\"127.0.0.1:{}\"]\n\
         with = {{ program = \"{program}\", mode = \"{mode}\" }}\n",
        scene.bind.port
    )
}

#[test]
fn a_program_is_called_as_lego_calls_it_with_a_clean_environment_and_without_the_keys() {
    let mut scene = Scene::new(&[("corp.example", "")]);
    let program = program(&scene);
    let account = account(&scene, &program, "default");
    scene.configure(&(account + &Scene::site(&["*.corp.example"], "")));
    scene.keyward.with_env("SECRET_OF_OTHERS", "s3cret");
    scene.keyward.start();
    scene.keyward.wait_issued("*.corp.example");
    scene.wait_gone("_acme-challenge.corp.example");
    let dir = scene.keyward.dir.path().join("hook");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let calls = read("calls");
    let calls: Vec<Vec<&str>> = calls.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[0][..2], ["present", "_acme-challenge.corp.example."]);
    assert_eq!(calls[1][..2], ["cleanup", "_acme-challenge.corp.example."]);
    assert_eq!(calls[0][2], calls[1][2]);
    assert_eq!(calls[0][2].len(), 43, "{calls:?}");
    let environment = read("environment");
    assert!(!environment.contains("s3cret") && environment.contains("PATH="), "{environment}");
    let stolen = read("stolen");
    assert_eq!(stolen.matches("Permission denied").count(), 2, "{stolen}");
}

#[test]
fn a_program_in_raw_mode_gets_name_token_and_key_authorization_and_its_failure_is_told() {
    let mut scene = Scene::new(&[("corp.example", "")]);
    let program = program(&scene);
    let account = account(&scene, &program, "raw");
    scene.configure(&(account + &Scene::site(&["*.corp.example"], "")));
    scene.keyward.start();
    crate::daemon::eventually("the failure is told", std::time::Duration::from_secs(120), || {
        let view = scene.keyward.certificate("*.corp.example")?.to_string();
        view.contains("exit status: 3").then_some(())
    });
    let calls = std::fs::read_to_string(scene.keyward.dir.path().join("hook/calls")).unwrap();
    let first: Vec<&str> = calls.lines().next().unwrap().split(' ').collect();
    assert_eq!(first[..3], ["present", "--", "corp.example"]);
    assert_eq!(first[4].split_once('.').unwrap().0, first[3]);
}

/// What came to the server, as head and body.
type Requests = Arc<Mutex<Vec<String>>>;

/// A server as acme-dns is one: it puts what it is told into the zone `alias.example`.
fn acme_dns(scene: &Scene) -> (u16, Requests) {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let requests = Requests::default();
    let (seen, dns) = (Arc::clone(&requests), scene.bind.port);
    let key = scene.bind.key_file("alias.example");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            let script = format!(
                "server 127.0.0.1 {dns}\nupdate add {}.alias.example. 60 TXT \"{}\"\nsend\n",
                value["subdomain"].as_str().unwrap(),
                value["txt"].as_str().unwrap()
            );
            let mut update = Command::new("nsupdate")
                .arg("-k")
                .arg(&key)
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            update.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(update.wait().unwrap().success());
            seen.lock().unwrap().push(format!("{head}\n{body}"));
            let answer = format!("{{\"txt\":{}}}", value["txt"]);
            let length = answer.len();
            let mut stream = stream;
            let _gone = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
        }
    });
    (port, requests)
}

#[test]
fn acme_dns_is_told_the_value_where_the_alias_leads() {
    let mut scene = Scene::new(&[
        ("corp.example", "_acme-challenge CNAME d420.alias.example.\n"),
        ("alias.example", ""),
    ]);
    let (port, requests) = acme_dns(&scene);
    let password = scene.keyward.dir.path().join("password");
    std::fs::write(&password, "pass-of-acme-dns\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let account = format!(
        "[[dns]]\nprovider = \"acme-dns\"\nzones = [\"d420.alias.example\"]\nservers = [\"127.0.0.1:{}\"]\n\
         with = {{ server = \"http://127.0.0.1:{port}\", username = \"c36f\", password_file = \"{}\", subdomain = \"d420\" }}\n",
        scene.bind.port,
        password.display()
    );
    scene.configure(&(account + &Scene::site(&["*.corp.example"], "")));
    scene.keyward.start();
    scene.keyward.wait_issued("*.corp.example");
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    for part in [
        "post /update http/1.1",
        "x-api-user: c36f",
        "x-api-key: pass-of-acme-dns",
        "\"subdomain\":\"d420\"",
    ] {
        assert!(requests[0].contains(part), "{part}: {requests:?}");
    }
    assert!(!scene.keyward.log().contains("pass-of-acme-dns"));
}
