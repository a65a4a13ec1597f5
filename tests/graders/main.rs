//! A grader that operators are judged by, let loose on the real program.
//!
//! sslyze holds it against Mozilla's guidelines. It does not trust the internal CA by itself, so it is
//! given its root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "in a test a panic is the report"
)]

#[path = "../kit/daemon.rs"]
mod daemon;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::run;

/// keyward with one site, `localhost`, that has `lines`; and the root of its CA.
fn open(lines: &str) -> (Keyward, PathBuf) {
    let site = format!("[[site]]\nnames = ['localhost']\norigin = 'builtin:welcome'\n{lines}\n");
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let root = keyward.dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    eventually("it is served", Duration::from_secs(20), || {
        keyward.curl(&root, "localhost", "/", &[]).status.success().then_some(())
    });
    (keyward, root)
}

/// What sslyze says about the compliance with a configuration of Mozilla's.
fn sslyze(keyward: &Keyward, root: &Path, configuration: &str) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/graders/bin/sslyze");
    assert!(program.exists(), "sslyze is not there: run scripts/install-graders");
    let said = run(Command::new(program)
        .args(["--certinfo", "--certinfo_ca_file"])
        .arg(root)
        .arg(format!("--mozilla_config={configuration}"))
        .arg(format!("localhost:{}", keyward.https)));
    let verdict = said.out.split("COMPLIANCE AGAINST TLS CONFIGURATION").nth(1);
    verdict.unwrap_or_else(|| panic!("{said:?}")).to_owned()
}

#[test]
fn mozillas_guidelines_are_met_as_each_preset_says() {
    let (keyward, root) = open("");
    let verdict = sslyze(&keyward, &root, "intermediate");
    assert!(verdict.contains("OK - Compliant"), "{verdict}");
    // The same grader sees what is missing for the modern configuration.
    let verdict = sslyze(&keyward, &root, "modern");
    assert!(verdict.contains("Not compliant") && verdict.contains("TLSv1.2"), "{verdict}");

    let (keyward, root) = open("tls = { preset = 'modern' }");
    let verdict = sslyze(&keyward, &root, "modern");
    assert!(verdict.contains("OK - Compliant"), "{verdict}");

    let (keyward, root) = open("tls = { preset = 'compatible' }");
    let verdict = sslyze(&keyward, &root, "intermediate");
    assert!(verdict.contains("OK - Compliant"), "{verdict}");
}
