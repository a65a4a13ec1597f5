//! The list of certificates, page by page: over the socket as bytes, and as the program shows it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use keyward::admin::wire::Certificates;
use keyward::admin::wire::LIST_MOST;

use crate::house::Running;
use crate::socket::ask;
use crate::socket::problem;

fn page(running: &Running, question: &str) -> Certificates {
    let answer = ask(running, "GET", &format!("/v1/certificates{question}"), "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

/// A running house with so many imported certificates beside its two.
fn crowd(count: usize) -> Running {
    let running = Running::start();
    running.fake.imported.store(count, Ordering::Relaxed);
    running
}

#[test]
fn pages_lead_from_one_to_the_next_and_each_certificate_is_met_once_whatever_else_comes() {
    let running = crowd(250);
    let first = page(&running, "");
    assert_eq!(first.certificates.len(), 100, "what is usual");
    let (mut seen, mut after, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let from = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let page = page(&running, &format!("?limit=60{from}"));
        assert!(page.certificates.len() <= 60);
        for one in &page.certificates {
            assert!(seen.insert(one.id.clone()), "{} comes twice", one.id);
        }
        pages += 1;
        // More come behind the place, as they do while somebody reads.
        running.fake.imported.fetch_add(3, Ordering::Relaxed);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, 5);
    assert!(seen.len() >= 252, "{}", seen.len());
}

#[test]
fn a_place_or_a_number_that_is_none_is_a_problem_that_says_what_to_do() {
    let running = crowd(3);
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=18446744073709551616",
        "limit=many",
        "after=",
        "after=7",
        "after=imported-xyz",
        "after=imported-0000000000000000%00",
        "after=%ff%fe",
        "limit=2&after=../../etc",
    ] {
        let answer = ask(&running, "GET", &format!("/v1/certificates?{bad}"), "");
        let told = problem(&answer);
        assert_eq!((told.status, told.kind.as_str()), (400, "/problems/bad-question"), "{bad}");
        assert!(!told.detail.is_empty(), "{bad}");
    }
    assert_eq!(running.fake.pages.load(Ordering::Relaxed), 0, "nothing was read for those");
    // Behind the last one is nothing, and that is no mistake.
    let behind = page(&running, "?after=imported-ffffffffffffffff");
    assert_eq!((behind.certificates.len(), behind.next), (0, None));
}

#[test]
fn the_program_reads_no_more_than_it_is_asked_for_and_says_that_there_is_more() {
    let running = crowd(2500);
    let lines = |arguments: &[&str]| {
        let (status, out, err) = running.keyward(arguments);
        assert_eq!(status, 0, "{err}");
        (out, err)
    };
    let (out, err) = lines(&["list"]);
    let rows = |out: &str| out.lines().filter(|line| line.contains("letsencrypt.org")).count();
    assert_eq!(rows(&out), LIST_MOST);
    assert!(out.lines().nth(1).unwrap().starts_with("broken.example"), "what needs somebody first");
    assert!(err.contains("keyward list --all"), "{err}");
    assert_eq!(running.fake.pages.swap(0, Ordering::Relaxed), 1);
    let (out, err) = lines(&["list", "--limit", "5"]);
    assert_eq!((rows(&out), err.contains("these are 5")), (5, true), "{out}{err}");
    assert_eq!(running.fake.pages.swap(0, Ordering::Relaxed), 1);
    let (out, err) = lines(&["list", "--limit", "1002"]);
    assert_eq!((rows(&out), err.contains("these are 1002")), (1002, true), "{err}");
    assert_eq!(running.fake.pages.swap(0, Ordering::Relaxed), 2);

    let (out, err) = lines(&["list", "--all"]);
    assert_eq!((rows(&out), err.as_str()), (2502, ""));
    assert_eq!(running.fake.pages.swap(0, Ordering::Relaxed), 3);
    assert_eq!(out.lines().filter(|line| line.starts_with("NAME")).count(), 1, "one heading");
    // One in a hundred needs somebody, and the broken one; of some it is said why.
    assert_eq!(out.matches(" needs you: ").count(), 25 + 1);
    let columns: BTreeSet<_> = out
        .lines()
        .filter(|line| line.contains("letsencrypt.org"))
        .map(|line| line.find("letsencrypt.org").unwrap())
        .collect();
    assert!(columns.len() <= 2, "columns stay where they are, or get wider: {columns:?}");

    let (status, _, err) = running.keyward(&["list", "--all", "--limit", "3"]);
    assert_eq!(status, 64, "{err}");
    let (status, _, err) = running.keyward(&["list", "--limit", "0"]);
    assert_eq!((status, err.contains("above 0")), (64, true), "{err}");
}

#[test]
fn json_of_many_pages_is_one_document() {
    let running = crowd(2500);
    let json = |arguments: &[&str]| -> Certificates {
        let (status, out, err) = running.keyward(arguments);
        assert_eq!((status, err.as_str()), (0, ""), "{arguments:?}");
        serde_json::from_str(&out).unwrap()
    };
    let all = json(&["--json", "list", "--all"]);
    let ids: BTreeSet<_> = all.certificates.iter().map(|one| one.id.as_str()).collect();
    assert_eq!((all.certificates.len(), ids.len(), all.next), (2502, 2502, None));
    let some = json(&["--json", "list", "--limit", "1500"]);
    assert_eq!(some.certificates.len(), 1500);
    assert!(some.next.unwrap().starts_with("imported-"));
    running.fake.imported.store(0, Ordering::Relaxed);
    assert_eq!(json(&["--json", "list"]).certificates.len(), 2);
}
