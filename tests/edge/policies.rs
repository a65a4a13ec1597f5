//! What sites and routes ask of requests: by whom, how many, how large, with which password.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::base::users::Hash;
use keyward::config;

use crate::house::{House, limits, site};
use crate::origin::Origin;

/// A site at `origin` with what `text` writes below its table.
pub(crate) fn house(origin: SocketAddr, text: &str) -> House {
    let head = "[[site]]\nnames = ['a.internal']\norigin = 'http://127.0.0.1:1'\n";
    let text = format!("{head}{text}");
    let parsed = config::parse(&text, std::path::Path::new("keyward.toml"), [("", ""); 0]);
    let read = parsed.unwrap_or_else(|problems| panic!("{problems}")).config.sites.remove(0);
    let mut site = site(&["a.example"], origin);
    (site.policy, site.routes) = (read.policy, read.routes);
    House::open(vec![site], limits())
}

pub(crate) async fn ask(house: &House, line: &str, fields: &str, body: &str) -> String {
    let text =
        format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}\r\n{body}");
    house.raw("a.example", text.as_bytes()).await
}

pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

pub(crate) fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn requests_of_other_networks_are_refused_and_a_route_has_its_own_say() {
    let origin = Origin::start();
    for (text, path, expected) in [
        ("allow = ['127.0.0.0/8']\n", "/head", "200"),
        ("allow = ['10.0.0.0/8', '::1']\n", "/head", "403"),
        ("deny = ['127.0.0.1']\n", "/head", "403"),
        ("deny = ['10.0.0.0/8']\n", "/head", "200"),
        ("allow = ['127.0.0.1']\ndeny = ['127.0.0.0/30']\n", "/head", "403"),
        ("deny = ['0.0.0.0/0']\n[[site.route]]\npath = '/open/*'\ndeny = []\n", "/open/a", "200"),
        ("deny = ['0.0.0.0/0']\n[[site.route]]\npath = '/open/*'\ndeny = []\n", "/a", "403"),
        ("[[site.route]]\npath = '/staff/*'\nallow = ['10.0.0.0/8']\n", "/staff/a", "403"),
        ("[[site.route]]\npath = '/staff/*'\nallow = ['10.0.0.0/8']\n", "//%73taff/a", "403"),
        ("[[site.route]]\npath = '/staff/*'\nallow = ['10.0.0.0/8']\n", "/a", "200"),
        // Where both say something, the route's counts.
        ("allow = ['::1']\n[[site.route]]\npath = '/a/*'\nallow = ['127.0.0.1']\n", "/a/b", "200"),
        ("allow = ['127.0.0.1']\n[[site.route]]\npath = '/a/*'\nallow = ['::1']\n", "/a/b", "403"),
        // What a route leaves out is the site's.
        ("deny = ['127.0.0.1']\n[[site.route]]\npath = '/a'\nset_answer = ['A: b']\n", "/a", "403"),
    ] {
        let house = house(origin.address, text);
        let before = origin.seen();
        let answer = ask(&house, &format!("GET {path}"), "", "").await;
        assert_eq!(status(&answer), expected, "{text}{path}: {answer}");
        let (asked, forbidden) = (origin.seen() - before, house.edge.stats().policies.forbidden);
        assert_eq!((asked, forbidden), if expected == "200" { (1, 0) } else { (0, 1) }, "{text}");
        assert!(answer.contains("strict-transport-security: "), "{answer}");
    }
}

#[tokio::test]
async fn a_password_opens_a_site_and_is_not_passed_on() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    let hash = |password: &str| Hash::of(password.as_bytes(), b"0123456789abcdef").unwrap().text();
    std::fs::write(&file, format!("bob:{}\n", hash("bobs:own"))).unwrap();
    let text = format!(
        "[site.basic_auth]\nrealm = 'the house'\nusers = ['ann:{}']\nusers_file = {file:?}\n\
         [[site.route]]\npath = '/open/*'\nbasic_auth = false\n\
         [[site.route]]\npath = '/see/*'\nrewrite = '/head'\n\
         basic_auth = {{ users = ['cat:{}'], forward = true }}\n",
        hash("annspassword"),
        hash("catspassword"),
    );
    let house = house(origin.address, &text);
    let (ann, bob, cat) =
        (basic("ann:annspassword"), basic("bob:bobs:own"), basic("cat:catspassword"));
    for (path, fields, expected) in [
        ("/head", "", "401"),
        ("/head", ann.as_str(), "200"),
        ("/head", &bob, "200"),
        ("/head", &cat, "401"),
        ("/head", &basic("ann:annspassworD"), "401"),
        ("/head", &basic("ann:"), "401"),
        ("/head", &basic("ann"), "401"),
        ("/head", &basic("nobody:annspassword"), "401"),
        ("/head", "Authorization: Bearer abc\r\n", "401"),
        ("/head", "Authorization: Basic !!!\r\n", "401"),
        ("/head", &format!("{ann}{ann}"), "401"),
        ("/head", &ann.replace("Basic", "bAsIc"), "200"),
        ("/open/a", "", "200"),
        ("/see/a", &cat, "200"),
        ("/see/a", &bob, "401"),
    ] {
        let answer = ask(&house, &format!("GET {path}"), fields, "").await;
        assert_eq!(status(&answer), expected, "{path} {fields}: {answer}");
        let challenge = field(&answer, "www-authenticate");
        let realm = if path == "/head" { "the house" } else { "restricted" };
        let asked = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        assert_eq!(challenge, (expected == "401").then_some(asked.as_str()), "{answer}");
        if expected == "200" && path != "/open/a" {
            assert_eq!(answer.contains("authorization: Basic"), path == "/see/a", "{answer}");
        }
    }
    // The same by curl over HTTP/2.
    let url = house.url("a.example", "/head");
    let told = house.curl("a.example", &["--http2", "-u", "bob:bobs:own", &url]);
    assert!(told.contains("GET /head"), "{told}");
    // A changed file, after a reload: another password, and the former one is not remembered.
    std::fs::write(&file, format!("bob:{}\n", hash("another password"))).unwrap();
    house.edge.publish(&house.config);
    assert_eq!(status(&ask(&house, "GET /head", &bob, "").await), "401");
    let new = basic("bob:another password");
    assert_eq!(status(&ask(&house, "GET /head", &new, "").await), "200");
}

#[tokio::test]
async fn who_guesses_is_stopped_and_who_is_remembered_goes_on() {
    let origin = Origin::start();
    let hash = Hash::of(b"annspassword", b"0123456789abcdef").unwrap().text();
    let house = house(origin.address, &format!("basic_auth = {{ users = ['ann:{hash}'] }}\n"));
    let ann = basic("ann:annspassword");
    assert_eq!(status(&ask(&house, "GET /", &ann, "").await), "200");
    let mut told = Vec::new();
    for number in 0..12 {
        let guess = basic(&format!("ann:guess {number}"));
        told.push(status(&ask(&house, "GET /", &guess, "").await).to_owned());
    }
    assert!(told.iter().take(10).all(|status| status == "401"), "{told:?}");
    assert!(told.iter().filter(|status| *status == "429").count() >= 1, "{told:?}");
    let answer = ask(&house, "GET /", &basic("ann:guess again"), "").await;
    let wait: u64 = field(&answer, "retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{answer}");
    assert_eq!(status(&ask(&house, "GET /", &ann, "").await), "200", "she is remembered");
    let figures = house.edge.stats().policies;
    assert!(figures.unauthorized >= 10 && figures.guessing >= 2, "{figures:?}");
    assert_eq!(origin.seen(), 2);
}

#[tokio::test]
async fn many_requests_with_a_good_password_at_once_are_no_guesses() {
    let origin = Origin::start();
    let hash = Hash::of(b"annspassword", b"0123456789abcdef").unwrap().text();
    let house = house(origin.address, &format!("basic_auth = {{ users = ['ann:{hash}'] }}\n"));
    let ann = basic("ann:annspassword");
    let asked = (0..40).map(|_| ask(&house, "GET /", &ann, ""));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(status(&answer), "200", "{answer}");
    }
}

#[tokio::test]
async fn a_network_has_its_rate_whichever_worker_it_comes_to() {
    let origin = Origin::start();
    let text = "rate = '6/h'\nburst = 3\n[[site.route]]\npath = '/own/*'\nrate = '1/m'\n\
                [[site.route]]\npath = '/like/*'\nset_answer = ['A: b']\n\
                [[site.route]]\npath = '/free/*'\nrate = 'off'\n";
    let house = house(origin.address, text);
    let mut told = Vec::new();
    for path in ["/", "/like/a", "/", "/", "/like/a", "/own/a", "/own/a", "/free/a"] {
        let answer = ask(&house, &format!("GET {path}"), "", "").await;
        let wait = field(&answer, "retry-after").map(|wait| wait.parse::<u64>().unwrap());
        match status(&answer) {
            "200" => assert_eq!(wait, None),
            "429" if path.starts_with("/own") => assert!((50..=60).contains(&wait.unwrap())),
            "429" => assert!((500..=600).contains(&wait.unwrap()), "{answer}"),
            other => panic!("{other}"),
        }
        told.push(status(&answer).to_owned());
    }
    assert_eq!(told, ["200", "200", "200", "429", "429", "200", "429", "200"]);
    assert_eq!((house.edge.stats().policies.over_rate, origin.seen()), (3, 5));
    // Another set of sites forgets nothing.
    house.edge.publish(&house.config);
    assert_eq!(status(&ask(&house, "GET /", "", "").await), "429");
}

#[tokio::test]
async fn a_body_is_no_longer_than_the_site_takes() {
    let origin = Origin::start();
    let text = "max_body = '10B'\n[[site.route]]\npath = '/big/*'\nrewrite = '/*'\n\
                max_body = 'off'\n";
    let house = house(origin.address, text);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (path, fields, body, expected) in [
        ("/count", "Content-Length: 10\r\n", "0123456789", "200"),
        ("/count", "Content-Length: 11\r\n", "0123456789a", "413"),
        ("/count", chunked, "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n", "200"),
        ("/count", chunked, "4\r\n0123\r\n7\r\n456789a\r\n0\r\n\r\n", "413"),
        ("/big/count", "Content-Length: 11\r\n", "0123456789a", "200"),
    ] {
        let text = format!("POST {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n{body}");
        let next = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        let answer = house.raw("a.example", format!("{text}{next}").as_bytes()).await;
        assert_eq!(status(&answer), expected, "{path} {fields}: {answer}");
        // After a refusal the connection ends: what is left of the body is no request.
        assert_eq!(answer.matches("HTTP/1.1 ").count(), if expected == "200" { 2 } else { 1 });
    }
    // What is too long by its own word is not waited for.
    let answer = ask(&house, "POST /count", "Content-Length: 11\r\n", "").await;
    assert_eq!(status(&answer), "413", "{answer}");
    // Over HTTP/2, with its length and without.
    let url = house.url("a.example", "/count");
    for (data, expected) in [("0123456789", "200"), ("0123456789a", "413")] {
        for fields in [&[][..], &["-H", "Content-Length:"]] {
            let shown = ["--http2", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--data", data];
            let told = house.curl("a.example", &[&shown[..], fields, &[&url]].concat());
            assert_eq!(told, expected, "{data} {fields:?}");
        }
    }
    assert_eq!(house.edge.stats().policies.bodies_too_long, 5);
}

#[tokio::test]
async fn an_answer_is_no_longer_than_the_site_gives() {
    let origin = Origin::start();
    let house = house(origin.address, "max_answer = '10B'\n");
    assert_eq!(status(&ask(&house, "GET /bytes/10", "", "").await), "200");
    let answer = ask(&house, "GET /bytes/11", "", "").await;
    assert_eq!(status(&answer), "502", "{answer}");
    let answer = ask(&house, "GET /drip/10/1", "", "").await;
    assert!(status(&answer) == "200" && answer.ends_with("0\r\n\r\n"), "{answer}");
    let answer = ask(&house, "GET /drip/30/1", "", "").await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(body.matches('x').count() <= 10 && !body.ends_with("0\r\n\r\n"), "cut off: {answer}");
    assert_eq!(house.edge.stats().policies.answers_too_long, 1);
}
