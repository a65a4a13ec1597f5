//! A service of the installed program: ordered for, listened on, reloaded, told of.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::daemon::run;
use crate::scene::Scene;

/// A server that greets and echoes, for as long as the test runs.
fn mail() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                let _gone = stream.write_all(b"* OK ready\r\n");
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let _gone = stream.write_all(&buffer[..count]);
                }
            });
        }
    });
    port
}

/// What comes back of `line`, asked for as openssl does it.
fn say(keyward: &Keyward, root: &std::path::Path, port: u16, more: &str, line: &str) -> String {
    let dir = keyward.dir.path().display();
    run(Command::new("sh").arg("-c").arg(format!(
        "(echo {line}; sleep 1) | timeout 6 openssl s_client -quiet -verify_return_error \
         -servername mail.example -CAfile {} -connect 127.0.0.1:{port} {more} 2>{dir}/client",
        root.display()
    )))
    .out
}

#[test]
fn a_service_is_ordered_for_reloaded_and_told_of() {
    let mut scene = Scene::new("mail.example");
    let (plain, imaps, imap) = (mail(), free_port(), free_port());
    let service = |port: u16, more: &str| {
        format!(
            "[[tcp]]\nnames = [\"mail.example\"]\nlisten = [\"127.0.0.1:{port}\"]\n\
             to = \"127.0.0.1:{plain}\"\n{more}"
        )
    };
    scene.configure(&service(imaps, ""));
    scene.keyward.start();
    // No site has the name, and it is ordered all the same.
    scene.keyward.wait_issued("mail.example");
    let root = scene.root();
    let said = eventually("the service answers", Duration::from_secs(20), || {
        let said = say(&scene.keyward, &root, imaps, "", "hello");
        said.contains("hello").then_some(said)
    });
    assert!(said.contains("* OK ready"), "{said}");
    // HTTPS has nothing for it.
    let https = say(&scene.keyward, &root, scene.keyward.https, "", "hello");
    assert!(!https.contains("hello"), "{https}");

    let both = format!("{}{}", service(imaps, ""), service(imap, "starttls = \"imap\"\n"));
    scene.configure(&both);
    let said = scene.keyward.cli(&["reload"]).ok();
    assert!(!said.contains("does not listen"), "{said}");
    let said = say(&scene.keyward, &root, imap, "-starttls imap", "under-tls");
    assert!(said.contains("under-tls") && !said.contains("* OK ready"), "{said}");
    let status = scene.keyward.cli(&["status", "--json"]).json();
    assert!(status["edge"]["tcp.connections"].as_u64().unwrap() >= 2, "{status:#}");
    let listening = status["listeners"].to_string();
    assert!(listening.contains(&format!("127.0.0.1:{imap}")), "{listening}");
    assert_eq!(scene.pebble.orders(), 1, "{}", scene.pebble.output());

    scene.configure(&service(imap, "starttls = \"imap\"\n"));
    scene.keyward.cli(&["reload"]).ok();
    eventually("the first listener is gone", Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", imaps)).is_err().then_some(())
    });
    let said = say(&scene.keyward, &root, imap, "-starttls imap", "still");
    assert!(said.contains("still"), "{said}");
}
