//! No text, no slip of a pen and no variable makes the loader panic, and what it takes is sound.
//!
//! Slips begin with a valid file that has nearly every key in it, so that they reach every check.

use std::collections::HashSet;
use std::path::Path;

use keyward::config;
use keyward::config::{Loaded, Problems};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::{Index, select};

/// Every key there is, uncommented.
fn everything() -> String {
    let reference = include_str!("../config/reference.toml");
    reference.lines().fold(String::new(), |text, line| {
        let live = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
        text + live.unwrap_or(line) + "\n"
    })
}

/// As many of them as can be had without a file of the operator's.
fn valid() -> String {
    let absent = [
        "ca_root",
        "[acme.eab]",
        "[ca.eab]",
        "kid",
        "hmac_key_file",
        "client_",
        "tls_",
        "users_file",
        "error_pages",
        // A channel is a webhook or mail, and the URL stands here or there.
        "webhook_file",
        "secret_file",
        "url_file",
        "chat",
        "from =",
        "smtp",
        "user =",
        "password_file",
        // A target is of one kind.
        "socket = \"/run/haproxy",
        "file =",
        // A site has these or an origin.
        "root",
        "fallback",
        // Of one origin there is nothing to choose.
        "sticky",
    ];
    let text = everything()
        .replace("accept_terms = false", "accept_terms = true")
        // A provider whose secrets are its own.
        .replace("provider = \"cloudflare\"", "provider = \"exec\"")
        .replace("token_file = \"/etc/keyward/cloudflare.token\"", "program = \"/bin/sh\"")
        // Without it there is nothing to agree to.
        .replace("hosted = false", "hosted = true")
        // A route that sends the client elsewhere has no origin.
        .replace("redirect = \"", "[[site.route]]\nredirect = \"");
    let lines = text.lines().filter(|line| !absent.iter().any(|key| line.starts_with(key)));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// One slip of a pen, at a place from 0 to 1.
#[derive(Clone, Debug)]
enum Slip {
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, String),
    SwapLines(Index, Index),
}

fn slip() -> impl Strategy<Value = Slip> {
    let words = select(vec![
        "[",
        "]",
        "[[site]]\n",
        "\"",
        "=",
        "{",
        "}",
        ",",
        "\n",
        ".",
        "#",
        "0",
        "-1",
        "1e9",
        "true",
        "nan",
        "2026-11-23",
        "\u{feff}",
        "\0",
        "names",
        "\"*\"",
        "\"\"",
        "site.names = []\n",
        "'",
        "\"\"\"",
        "\\u0000",
        "é",
        "99999999999999999999",
        "hsts = true\n",
        "h",
    ]);
    let piece = prop_oneof![words.prop_map(str::to_owned), any::<String>()];
    prop_oneof![
        (any::<Index>(), 1_usize..40).prop_map(|(at, length)| Slip::Remove(at, length)),
        (any::<Index>(), 1_usize..200).prop_map(|(at, length)| Slip::Repeat(at, length)),
        (any::<Index>(), piece).prop_map(|(at, text)| Slip::Insert(at, text)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, two)| Slip::SwapLines(one, two)),
    ]
}

fn apply(text: &str, slip: &Slip) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    match slip {
        Slip::SwapLines(one, two) => {
            let mut lines: Vec<&str> = text.split('\n').collect();
            let (one, two) = (one.index(lines.len()), two.index(lines.len()));
            lines.swap(one, two);
            return lines.join("\n");
        }
        Slip::Remove(at, length) => {
            let at = at.index(characters.len() + 1);
            characters.drain(at..(at + length).min(characters.len()));
        }
        Slip::Repeat(at, length) => {
            let at = at.index(characters.len() + 1);
            let again = characters.iter().skip(at).take(*length).copied().collect::<Vec<_>>();
            characters.splice(at..at, again);
        }
        Slip::Insert(at, piece) => {
            let at = at.index(characters.len() + 1);
            characters.splice(at..at, piece.chars());
        }
    }
    characters.into_iter().collect()
}

/// What must hold of every result, whatever the text was.
fn holds(text: &str, result: Result<Loaded, Problems>) {
    match result {
        Ok(loaded) => {
            let sites = &loaded.config.sites;
            let names: Vec<_> = sites.iter().flat_map(|site| &site.names).collect();
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
            assert!(sites.iter().all(|site| !site.names.is_empty()));
            assert!(sites.iter().filter(|site| site.default).count() <= 1);
            assert!(!loaded.config.listen.https.is_empty());
            assert!(!loaded.config.acme.challenges.is_empty());
            assert!(loaded.config.edge.workers > 0);
        }
        Err(problems) => {
            assert!(!problems.errors.is_empty());
            let lines = text.split('\n').count();
            let mut last = (0, 0);
            for problem in &problems.errors {
                assert!(!problem.to_string().is_empty() && !problem.one_line().is_empty());
                let (Some(line), Some(column)) = (problem.line, problem.column) else {
                    continue;
                };
                assert!(line >= 1 && line <= lines && column >= 1, "{problem}");
                assert!(last <= (line, column), "{problems}");
                last = (line, column);
            }
        }
    }
}

const SOURCE: &str = "keyward.toml";

fn parse(text: &str) -> Result<Loaded, Problems> {
    config::parse(text, Path::new(SOURCE), [("", ""); 0])
}

proptest! {
    #[test]
    fn no_text_panics_the_loader(text in any::<String>()) {
        holds(&text, parse(&text));
    }

    #[test]
    fn no_slip_of_a_pen_panics_the_loader(
        base in prop_oneof![Just(valid()), Just(everything())],
        slips in vec(slip(), 1..4),
    ) {
        let text = slips.iter().fold(base, |text, slip| apply(&text, slip));
        holds(&text, parse(&text));
    }

    #[test]
    fn no_value_panics_the_loader(
        key in select(config::keys().into_iter().map(|key| key.path).collect::<Vec<_>>()),
        value in prop_oneof![
            any::<String>().prop_map(|text| toml_edit::Value::from(text).to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            vec(any::<String>(), 0..4)
                .prop_map(|list| toml_edit::Array::from_iter(list).to_string()),
            Just("{}".to_owned()),
            Just("[{}]".to_owned()),
            Just("-0.0".to_owned()),
            Just("[[1]]".to_owned()),
        ],
    ) {
        let text = match key.strip_prefix("site.") {
            Some(key) => format!("[[site]]\n{key} = {value}\n"),
            None => format!("{key} = {value}\n"),
        };
        holds(&text, parse(&text));
    }

    #[test]
    fn no_variable_panics_the_loader(
        name in "(ACME|LISTEN|EDGE|SITE|LOG)?_{0,3}[A-Z_]{0,12}(__)?[A-Z_]{0,12}",
        value in any::<String>(),
    ) {
        let name = format!("KEYWARD_{name}");
        holds("", config::parse("", Path::new(SOURCE), [(name, value)]));
    }
}

#[test]
fn the_texts_that_slips_begin_with_are_what_they_are_called() {
    assert_eq!(parse(&valid()).unwrap().warnings, []);
    let everything = everything();
    for key in config::keys() {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(everything.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
    }
}
