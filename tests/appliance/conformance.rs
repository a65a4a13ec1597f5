//! The interface held against its own document by a program that is not ours: schemathesis asks every
//! operation what its document allows and what it does not, and looks at the answers.

use std::io::copy;
use std::net::Shutdown;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::daemon::Keyward;
use crate::daemon::free_port;
use crate::daemon::run;
use crate::origin::Origin;

/// Operations that are not asked, and why.
const LEFT_OUT: [&str; 4] = [
    // Another process takes the place of the daemon, whose end the test would wait for in vain.
    "/v1/upgrade",
    // Each seals everything anew, or asks a CA that is not there.
    "/v1/rotate/master",
    "/v1/rotate/account",
    // It goes out to name servers and ports, which takes its time and not the interface's.
    "/v1/doctor/{selector}",
];

/// What the document must hold of each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// The program speaks TCP: whatever comes to this port goes to the socket, and back.
fn bridge(socket: &Path) -> u16 {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let socket = socket.to_owned();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let Ok(near) = near else { return };
            let Ok(far) = UnixStream::connect(&socket) else { continue };
            let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ended = copy(&mut near_in, &mut far_out);
                let _gone = far_out.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let (mut far, mut near) = (far, near);
                let _ended = copy(&mut far, &mut near);
                let _gone = near.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

#[test]
fn schemathesis_finds_no_fault_and_nothing_that_is_not_in_the_document() {
    let tool =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/schemathesis/bin/schemathesis");
    assert!(tool.exists(), "scripts/install-schemathesis puts it in place");
    let origin = Origin::start();
    let site = format!(
        "[[site]]\nnames = [\"a.internal\"]\norigin = \"http://{}\"\n[[client]]\nname = 'ann'\n",
        origin.address
    );
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    keyward.wait_issued("a.internal");
    let port = bridge(&keyward.socket());
    let mut command = Command::new(tool);
    command
        .arg("run")
        .arg(format!("http://127.0.0.1:{port}/v1/openapi.json"))
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "12"])
        .args(["--max-time", "50", "--seed", "7", "--workers", "2", "--no-shrink"])
        .args(["--request-timeout", "40", "--continue-on-failure", "--warnings", "off"])
        // Whoever follows the journal stays.
        .args(["--exclude-path", "/v1/events"])
        .current_dir(keyward.dir.path())
        .env("NO_COLOR", "1");
    for path in LEFT_OUT {
        command.args(["--exclude-path", path]);
    }
    let said = run(&mut command);
    assert!(said.status.success(), "{}\n{}", said.out, said.err);
    assert!(said.out.contains("passed"), "{}", said.out);
    // It is the daemon of before that answers.
    keyward.cli(&["status"]).ok();
}
