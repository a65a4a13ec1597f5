//! Every program that a test runs is one that `tests/check` installs.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

/// On every machine on which cargo runs, or looked for by another script (Go, for Pebble).
const THERE: &[&str] = &["sh", "bash", "cp", "go", "sleep"];

/// Names that `Command::new` is called with as a literal, in all sources below `place`.
fn programs(place: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            programs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted = text.split("Command::new(\"").skip(1);
            let names = quoted.filter_map(|rest| rest.split_once("\")")).map(|(name, _)| name);
            found.extend(names.filter(|name| is_program(name)).map(str::to_owned));
        }
    }
}

/// A name that is looked for on the path.
fn is_program(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(letters)
}

#[test]
fn the_test_command_installs_what_the_tests_run() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for place in ["src", "tests", "benches"] {
        programs(&here.join(place), &mut found);
    }
    assert!(found.contains("curl") && found.contains("openssl"), "{found:?}");
    let script = std::fs::read_to_string(here.join("tests/check")).unwrap();
    let installed: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(':'))
        .map(|(program, _)| program)
        .chain(THERE.iter().copied())
        .collect();
    let missing: Vec<&String> =
        found.iter().filter(|name| !installed.contains(&name.as_str())).collect();
    assert_eq!(missing, Vec::<&String>::new(), "add them to the lists of tests/check");
}
