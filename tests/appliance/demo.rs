//! The first command of a newcomer.

use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::daemon::BINARY;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::daemon::run;

#[test]
fn the_demo_serves_redirects_and_prints_commands_that_work() {
    let dir = tempfile::tempdir().unwrap();
    let (https, http) = (free_port(), free_port());
    let said = dir.path().join("said");
    let mut child = Command::new(BINARY)
        .current_dir(dir.path())
        .args(["demo", "--https", &https.to_string(), "--http", &http.to_string()])
        .args(["--state", "demo"])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&said).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = eventually("the demo says what to try", Duration::from_secs(20), || {
        let text = std::fs::read_to_string(&said).unwrap();
        text.contains("Ctrl-C").then_some(text)
    });
    let after = |word: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(word));
        line.unwrap_or_else(|| panic!("no {word:?} in {text}"))
    };
    let tried = [after("try "), after("look ")];
    let shell =
        |line: &str| run(Command::new("sh").current_dir(dir.path()).arg("-c").arg(line)).ok();
    assert!(shell(tried[0]).contains("keyward is at the door"), "{text}");
    assert!(shell(tried[1]).contains("1 served"), "{text}");
    let redirect = shell(&format!(
        "curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}' 'http://localhost:{http}/a?b=c'"
    ));
    assert_eq!(redirect, format!("308 https://localhost:{https}/a?b=c"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
}
