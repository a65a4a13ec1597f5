//! The OpenAPI document says what the socket does: all of it, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use keyward::admin::document_text;
use keyward::admin::table;
use serde_json::Value;

use crate::house::Running;
use crate::socket::ask;

fn document() -> Value {
    serde_json::from_str(&document_text()).unwrap()
}

#[test]
fn the_document_of_the_repository_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/openapi.json");
    let lies_there = std::fs::read_to_string(path).unwrap();
    assert!(
        lies_there == document_text(),
        "config/openapi.json is out of step: keyward openapi > config/openapi.json"
    );
}

#[test]
fn every_route_is_in_it_and_every_one_in_it_is_there() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut told = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            told.insert(format!("{} {path}", method.to_uppercase()));
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "403", "413", "429", "503"] {
                assert!(responses.contains_key(status), "{method} {path}: {status}");
            }
            let good: Vec<_> = responses.keys().filter(|status| status.starts_with('2')).collect();
            assert!(!good.is_empty(), "{method} {path}");
            for status in good {
                let content = responses[status]["content"].as_object();
                assert!(content.is_some_and(|all| !all.is_empty()), "{method} {path}: {status}");
            }
        }
    }
    let there: BTreeSet<_> =
        table().into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(told, there);
    // The table is what is asked: each of its routes answers something else than "no such path".
    let running = Running::start();
    for (method, path, _) in table() {
        let path = path.replace(['{', '}'], "");
        let answer = ask(&running, method.as_str(), &path, "");
        assert!(!answer.contains("/problems/unknown-path"), "{method} {path}: {answer}");
        assert!(!answer.contains("/problems/wrong-method"), "{method} {path}: {answer}");
    }
}

#[test]
fn whatever_it_refers_to_is_in_it() {
    let document = document();
    let mut open = vec![&document];
    let mut seen = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to} is nowhere");
                    seen += 1;
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(seen > 300, "{seen}");
    let body = |path: &str, method: &str| {
        document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
            ["$ref"]
            .clone()
    };
    // From the types of the handlers.
    assert_eq!(body("/v1/tokens", "post"), "#/components/schemas/TokenOrder");
    let list = &document["paths"]["/v1/certificates"]["get"]["parameters"];
    let names: Vec<_> = list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["after", "limit", "phase", "issuer", "name", "client", "expires_before"]);
}

#[test]
fn it_is_served_to_whoever_is_let_in_and_printed_without_a_daemon() {
    let running = Running::start();
    let answer = ask(&running, "GET", "/v1/openapi.json", "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), document());
    let said = crate::house::command(Path::new("/nowhere"), &["openapi"]).output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), document_text());
}
