//! `config/reference.toml` and the code say the same: every key, every default, every reload class.
//!
//! The comparison is itself compared with broken files, so that it cannot go blind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use keyward::config;
use keyward::config::{Key, Provenance, Reload};

const REFERENCE: &str = include_str!("../config/reference.toml");
const MINIMAL: &str = include_str!("../config/minimal.toml");

#[test]
fn every_key_stands_in_the_reference_with_its_default() {
    let complaints = compare(REFERENCE, &config::keys());
    assert_eq!(complaints, Vec::<String>::new());
    assert!(config::keys().len() >= 38, "the list of keys is cut short");
}

#[test]
fn a_reference_that_is_out_of_step_is_noticed() {
    let with = |from: &str, to: &str| {
        assert!(REFERENCE.contains(from), "{from}");
        compare(&REFERENCE.replacen(from, to, 1), &config::keys())
    };
    for (from, to, complaint) in [
        ("#renewal_info = true\n", "", "acme.renewal_info is missing"),
        ("#renewal_info = true\n", "#renewal_hint = true\n", "acme.renewal_hint is no key"),
        ("#idle_timeout = \"60s\"", "#idle_timeout = \"61s\"", "edge.idle_timeout is \"61s\""),
        ("#max_age = 63072000", "#max_age = 1", "tls.hsts.max_age is 1"),
        ("# Default: 32\n", "# Default: 33\n", "edge.origin_idle does not name its default 32"),
        ("# Default: none\n", "", "acme.ca_root does not name its default none"),
        ("# Reload: restart\n", "# Reload: hot\n", "state.dir does not say Reload: restart"),
        ("# Unit: seconds\n", "", "tls.hsts.max_age names no unit"),
    ] {
        let complaints = with(from, to);
        assert!(complaints.iter().any(|c| c.contains(complaint)), "{complaint}: {complaints:?}");
    }
    // A key that the code gains and the file does not.
    let mut keys = config::keys();
    let (default, example) = (Some("1".to_owned()), "1".to_owned());
    keys.push(Key { path: "edge.novelty".to_owned(), default, example });
    assert_eq!(compare(REFERENCE, &keys), ["edge.novelty is missing"]);
}

#[test]
fn the_reference_as_shipped_is_the_default_configuration() {
    let shipped = parse(REFERENCE).unwrap();
    let empty = parse("").unwrap();
    assert_eq!(shipped.config, empty.config);
    let warnings: Vec<&str> = shipped.warnings.iter().map(|w| w.problem.as_str()).collect();
    assert_eq!(warnings, ["there are no sites, so nothing will be served"]);
}

#[test]
fn the_reference_with_all_keys_is_refused_only_for_what_an_operator_must_bring() {
    let problems = parse(&uncommented(REFERENCE)).unwrap_err();
    let keys: Vec<String> = problems.errors.iter().map(|p| p.key.to_string()).collect();
    assert_eq!(
        keys,
        [
            "acme.accept_terms",
            "acme.ca_root",
            "acme.eab.hmac_key_file",
            // It stands by.
            "ca[0].accept_terms",
            "ca[0].ca_root",
            "ca[0].eab.hmac_key_file",
            "dns[0].with.token_file",
            // It is a webhook, whose URL is there already.
            "notify[0].webhook_file",
            "notify[0].secret_file",
            "notify[0].chat",
            "notify[0].from",
            "notify[0].smtp",
            "notify[0].user",
            "notify[0].password_file",
            "notify[0].ca_root",
            "heartbeat.url_file",
            "heartbeat.ca_root",
            // Those of other kinds.
            "target[0].socket",
            "target[0].file",
            "target[0].user",
            // There is an origin beside it, and no such directory.
            "site[0].root",
            "site[0].root",
            "site[0].error_pages",
            "site[0].basic_auth.users_file",
            "site[0].origins.tls_ca",
            "site[0].tls.client_ca",
            "site[0].tls.client_crl",
            "site[0].route[0].error_pages",
            "site[0].route[0].basic_auth.users_file",
            "tcp[0].tls.client_ca",
            "tcp[0].tls.client_crl",
        ]
    );
}

#[test]
fn the_minimal_file_passes_without_a_warning() {
    let loaded = parse(MINIMAL).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.sites.len(), 1);
    assert_eq!(loaded.config.source.as_deref(), Some(Path::new("keyward.toml")));
}

fn parse(text: &str) -> Result<config::Loaded, config::Problems> {
    let parsed = config::parse(text, Path::new("keyward.toml"), [("", ""); 0]);
    if let Err(problems) = &parsed {
        let source = Provenance::File("keyward.toml".into());
        assert!(problems.errors.iter().all(|problem| problem.origin == source), "{problems}");
    }
    parsed
}

/// What is out of step between `reference` and `keys`.
fn compare(reference: &str, keys: &[Key]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut written = values(reference);
    let prose = prose(reference);
    for key in keys {
        let path = &key.path;
        let Some(value) = written.remove(path) else {
            complaints.push(format!("{path} is missing"));
            continue;
        };
        if value != key.example {
            complaints.push(format!("{path} is {value}, not {}", key.example));
        }
        let above = prose.get(path).map(Vec::as_slice).unwrap_or_default();
        let says = |label: &str, what: &str| {
            above.iter().any(|line| {
                line.strip_prefix(label).is_some_and(|rest| {
                    rest.strip_prefix(what)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ';']))
                })
            })
        };
        let default = key.default.as_deref().unwrap_or("none");
        if !says("Default: ", default) {
            complaints.push(format!("{path} does not name its default {default}"));
        }
        let class = match config::reload_class(path) {
            Reload::Hot => "hot",
            Reload::Restart => "restart",
        };
        if !says("Reload: ", class) {
            complaints.push(format!("{path} does not say Reload: {class}"));
        }
        let counts = key.example.trim_start_matches('"').starts_with(|c: char| c.is_ascii_digit());
        if counts && !above.iter().any(|line| line.starts_with("Unit: ")) {
            complaints.push(format!("{path} names no unit"));
        }
        if above.len() < 3 {
            complaints.push(format!("{path} has no meaning"));
        }
    }
    complaints.extend(written.into_keys().map(|path| format!("{path} is no key")));
    complaints
}

/// A commented-out line of TOML: `#key = ...` or `#[table]`, where prose has a space.
fn commented(line: &str) -> Option<&str> {
    line.strip_prefix('#')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

fn uncommented(reference: &str) -> String {
    reference
        .lines()
        .fold(String::new(), |text, line| text + commented(line).unwrap_or(line) + "\n")
}

/// Every key of the reference with its value.
fn values(reference: &str) -> BTreeMap<String, String> {
    let document: toml_edit::DocumentMut = uncommented(reference).parse().unwrap();
    let mut values = BTreeMap::new();
    collect(document.as_table(), "", &mut values);
    values
}

fn collect(table: &dyn toml_edit::TableLike, prefix: &str, values: &mut BTreeMap<String, String>) {
    for (key, item) in table.iter() {
        let path = format!("{prefix}{key}");
        if let Some(tables) = item.as_array_of_tables() {
            assert_eq!(tables.len(), 1);
            collect(tables.get(0).unwrap(), &format!("{path}."), values);
        } else if let Some(table) = item.as_table_like() {
            collect(table, &format!("{path}."), values);
        } else {
            values.insert(path, item.to_string().trim().to_owned());
        }
    }
}

/// The comment above each key, line by line.
fn prose(reference: &str) -> BTreeMap<String, Vec<&str>> {
    let mut prose = BTreeMap::new();
    let mut section = "";
    let mut above = Vec::new();
    for line in reference.lines() {
        if let Some(live) = commented(line) {
            if live.starts_with('[') {
                section = live.trim_matches(['[', ']']);
            } else if let Some((key, _)) = live.split_once(" = ") {
                prose.insert(format!("{section}.{key}"), above.clone());
            }
            above.clear();
        } else if let Some(text) = line.strip_prefix("# ") {
            above.push(text);
        } else {
            above.clear();
        }
    }
    prose
}
