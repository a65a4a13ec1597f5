//! The unit files, judged by systemd itself: they load without a complaint, and the exposure of the
//! service stays low. A machine without `systemd-analyze` fails this test.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: &[&str] = &[
    "keyward.service",
    "keyward-http.socket",
    "keyward-https.socket",
    "keyward-http3.socket",
    "keyward-deploy.socket",
    "keyward-deploy@.service",
];

/// The highest exposure that is acceptable.
const EXPOSURE: f64 = 1.5;

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(units().join(name)).unwrap()
}

/// Runs `systemd-analyze` and returns whether it succeeded, and all it said.
fn analyze(arguments: &[&str], unit_path: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        // The colon at the end keeps the units of the distribution in sight.
        .env("SYSTEMD_UNIT_PATH", format!("{}:", unit_path.display()))
        .output()
        .expect("systemd-analyze is part of systemd and installed by tests/check");
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// The units in a directory of their own, with a program that exists on every machine.
fn copies(change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in UNITS {
        let text = read(name).replace("/usr/bin/keyward", "/bin/true");
        std::fs::write(dir.path().join(name), change(&text)).unwrap();
    }
    dir
}

fn verify(dir: &Path) -> (bool, String) {
    let paths: Vec<String> =
        UNITS.iter().map(|name| dir.join(name).display().to_string()).collect();
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(paths.iter().map(String::as_str));
    let (success, said) = analyze(&arguments, dir);
    // Other units of the machine may complain; only ours count.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("keyward")).collect();
    (success, ours.join("\n"))
}

fn exposure(dir: &Path) -> f64 {
    let unit = dir.join("keyward.service");
    let (success, said) =
        analyze(&["security", "--offline=true", "--no-pager", &unit.display().to_string()], dir);
    assert!(success, "{said}");
    let line = said.lines().find(|line| line.contains("Overall exposure level")).unwrap();
    line.split_once(".service: ").unwrap().1.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn systemd_verifies_the_units_without_a_complaint() {
    let dir = copies(str::to_owned);
    assert_eq!(verify(dir.path()), (true, String::new()));
}

#[test]
fn a_misspelled_setting_would_be_noticed() {
    let dir = copies(|text| text.replace("ProtectHome=", "ProtectHouse="));
    assert!(verify(dir.path()).1.contains("ProtectHouse"));
}

#[test]
fn the_exposure_of_the_service_is_low() {
    let dir = copies(str::to_owned);
    let score = exposure(dir.path());
    assert!(score <= EXPOSURE, "exposure {score}, at most {EXPOSURE} is acceptable");
    let open = copies(|text| text.replace("ProtectSystem=strict", "ProtectSystem=no"));
    assert!(exposure(open.path()) > EXPOSURE, "a weakened unit must not pass");
}

#[test]
fn every_drop_in_example_is_accepted() {
    for entry in std::fs::read_dir(units().join("examples")).unwrap() {
        let dir = copies(str::to_owned);
        let beside = dir.path().join("keyward.service.d");
        std::fs::create_dir(&beside).unwrap();
        let example = entry.unwrap().path();
        std::fs::copy(&example, beside.join(example.file_name().unwrap())).unwrap();
        assert_eq!(verify(dir.path()), (true, String::new()), "{}", example.display());
    }
}

#[test]
fn a_reload_checks_the_very_file_that_the_service_reads() {
    let unit = read("keyward.service");
    let after =
        |prefix: &str| unit.lines().find_map(|line| line.strip_prefix(prefix)).unwrap().to_owned();
    let running = after("ExecStart=/usr/bin/keyward run --config ");
    assert_eq!(after("ExecReload=/usr/bin/keyward check "), running);
}

#[test]
fn the_service_manager_waits_longer_than_a_stop_may_take() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/reference.toml");
    let reference = std::fs::read_to_string(config).unwrap();
    let seconds = |text: &str, key: &str| -> u64 {
        let value = text.lines().find_map(|line| line.trim_start_matches('#').strip_prefix(key));
        let digits = |c: char| !c.is_ascii_digit();
        value.unwrap().trim_matches(digits).parse().unwrap()
    };
    let drain = seconds(&reference, "drain_timeout = ");
    let patience = seconds(&read("keyward.service"), "TimeoutStopSec=");
    // Beyond the drain there are the scheduler's and the admin socket's last words.
    assert!(drain + 30 <= patience, "{drain} s of draining, {patience} s of patience");
}
