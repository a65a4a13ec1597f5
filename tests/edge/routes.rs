//! Routes of a site: which requests go another way, and that nobody gets round them.

use std::net::SocketAddr;

use keyward::config;

use crate::house::{House, limits, site};
use crate::origin::Origin;

/// The routes that `text` writes, as the file has them.
pub(crate) fn routes(text: &str) -> Vec<config::Route> {
    let site = "[[site]]\nnames = ['a.internal']\norigin = 'http://127.0.0.1:1'\n";
    let text = format!("{site}{text}");
    let parsed = config::parse(&text, std::path::Path::new("keyward.toml"), [("", ""); 0]);
    parsed.unwrap_or_else(|problems| panic!("{problems}")).config.sites.remove(0).routes
}

/// A site at `origin` with these routes.
fn house(origin: SocketAddr, text: &str) -> House {
    let mut site = site(&["a.example"], origin);
    site.routes = routes(text);
    House::open(vec![site], limits())
}

async fn ask(house: &House, line: &str, fields: &str) -> String {
    let text = format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}\r\n");
    house.raw("a.example", text.as_bytes()).await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[tokio::test]
async fn the_first_route_that_fits_path_method_and_field_is_taken() {
    let (main, api, beta) = (Origin::start(), Origin::start(), Origin::start());
    let house = house(
        main.address,
        &format!(
            "[[site.route]]\npath = '/api/*'\nfield = 'X-Beta: yes'\norigin = 'http://{}'\n\
             [[site.route]]\npath = '/api/*'\nmethods = ['GET', 'POST']\norigin = 'http://{}'\n",
            beta.address, api.address
        ),
    );
    let seen = || (main.seen(), api.seen(), beta.seen());
    for (line, fields, expected) in [
        ("GET /head", "", (1, 0, 0)),
        ("GET /api/head", "", (1, 1, 0)),
        ("HEAD /api", "", (1, 2, 0)),
        ("GET /apiary", "", (2, 2, 0)),
        ("DELETE /api/head", "", (3, 2, 0)),
        ("DELETE /api/head", "X-Beta: yes\r\n", (3, 2, 1)),
        ("GET /api/head", "X-Beta: yes!\r\n", (3, 3, 1)),
        ("GET /api/head", "X-Beta: no\r\nX-Beta: yes\r\n", (3, 3, 2)),
        ("OPTIONS *", "", (4, 3, 2)),
    ] {
        let answer = ask(&house, line, fields).await;
        assert_eq!(status(&answer), "200", "{line}: {answer}");
        assert_eq!(seen(), expected, "{line} {fields}");
    }
    // The same over HTTP/2.
    house.curl("a.example", &["--http2", &house.url("a.example", "/api/x")]);
    assert_eq!(seen(), (4, 4, 2));
}

/// Either whether the route's origin is asked, and for what, or the status of a refusal.
type Expected = Result<(bool, &'static str), &'static str>;

/// What is asked for, and what comes of it.
const PATHS: &[(&str, Expected)] = &[
    ("/secret/a?q=%2e%2e", Ok((true, "/secret/a?q=%2e%2e"))),
    ("/public/../secret/a", Ok((true, "/secret/a"))),
    ("/public/%2e%2e/secret/a", Ok((true, "/secret/a"))),
    ("/public/%2E./secret/a", Ok((true, "/secret/a"))),
    ("//secret/a", Ok((true, "/secret/a"))),
    ("/./secret//a", Ok((true, "/secret/a"))),
    ("/%73ecret/a", Ok((true, "/secret/a"))),
    ("/secret/../public", Ok((false, "/public"))),
    ("/secret/b%2fc", Ok((true, "/secret/b%2Fc"))),
    ("/public/b%2fc;v=1", Ok((false, "/public/b%2Fc;v=1"))),
    ("/secretly", Ok((false, "/secretly"))),
    ("/secret%2fa", Err("400")),
    ("/%2fsecret/a", Err("400")),
    ("/public%2f..%2fsecret/a", Err("400")),
    ("/public/..%2fsecret/a", Err("400")),
    ("/public/..;/secret/a", Err("400")),
    ("/secret;x=1/a", Err("400")),
    ("/;/secret/a", Err("400")),
    ("/secret%3b/a", Err("400")),
    ("/secret%5ca", Err("400")),
    ("/secret/%00", Err("400")),
    ("/secret/%zz", Err("400")),
    ("/../secret/a", Err("400")),
    ("/secret/..;/public", Err("400")),
];

#[tokio::test]
async fn no_spelling_of_a_path_gets_round_a_route() {
    let (main, guarded) = (Origin::start(), Origin::start());
    let text = format!(
        "[[site.route]]\npath = '/secret/*'\norigin = 'http://{}'\nset_request = ['X-Route: 1']\n",
        guarded.address
    );
    let house = house(main.address, &text);
    for (path, expected) in PATHS {
        let before = (main.seen(), guarded.seen());
        let answer = ask(&house, &format!("GET {path}"), "X-Echo: 1\r\n").await;
        let after = (main.seen() - before.0, guarded.seen() - before.1);
        match expected {
            Ok((routed, asked)) => {
                assert_eq!(status(&answer), "200", "{path}: {answer}");
                assert_eq!(after, if *routed { (0, 1) } else { (1, 0) }, "{path}");
                let line = if *routed { guarded.last() } else { main.last() };
                assert_eq!(line, format!("GET {asked}"), "{path}");
            }
            Err(refusal) => {
                assert_eq!(status(&answer), *refusal, "{path}: {answer}");
                assert_eq!(after, (0, 0), "{path}");
            }
        }
    }
    // A site without routes passes what it gets: its origin alone reads the path.
    let plain = House::open(vec![site(&["a.example"], main.address)], limits());
    ask(&plain, "GET /a//b/..%2fc", "").await;
    assert_eq!(main.last(), "GET /a//b/..%2fc");
}

#[tokio::test]
async fn a_path_is_rewritten_and_a_client_is_sent_elsewhere() {
    let main = Origin::start();
    let house = house(
        main.address,
        "[[site.route]]\npath = '/api/*'\nrewrite = '/v2/*'\n\
         [[site.route]]\npath = '/strip/*'\nrewrite = '/*'\n\
         [[site.route]]\npath = '/one'\nrewrite = '/bytes/1'\n\
         [[site.route]]\npath = '/old/*'\nredirect = 'https://{host}/new/*'\nstatus = 301\n\
         [[site.route]]\npath = '/login'\nredirect = 'https://id.example/?to=a'\n",
    );
    for (path, asked) in [
        ("/api/x/y?q=1", "/v2/x/y?q=1"),
        ("/api", "/v2/"),
        ("/strip/head", "/head"),
        ("/strip//%2e%2e/strip/x", "/x"),
        ("/one?q", "/bytes/1?q"),
        ("/bytes/2", "/bytes/2"),
    ] {
        let answer = ask(&house, &format!("GET {path}"), "").await;
        assert_eq!(status(&answer), "200", "{path}: {answer}");
        assert_eq!(main.last(), format!("GET {asked}"), "{path}");
    }
    let before = main.seen();
    for (path, expected, location) in [
        ("/old/a/b?q=1", "301", "https://a.example/new/a/b?q=1"),
        ("/old", "301", "https://a.example/new/"),
        ("/old//evil.example/", "301", "https://a.example/new/evil.example/"),
        ("/login?q=1", "308", "https://id.example/?to=a"),
    ] {
        let answer = ask(&house, &format!("GET {path}"), "").await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        let field = answer.lines().find_map(|line| line.strip_prefix("location: "));
        assert_eq!(field, Some(location), "{path}: {answer}");
        assert!(answer.contains("strict-transport-security: "), "{answer}");
    }
    assert_eq!(main.seen(), before, "nobody was asked");
}

#[tokio::test]
async fn fields_are_set_and_removed_and_a_client_cannot_undo_it() {
    let main = Origin::start();
    let house = house(
        main.address,
        "[[site.route]]\npath = '/head'\nset_request = ['X-User: me', 'X-New: 1']\n\
         remove_request = ['Cookie']\nset_answer = ['X-Frame-Options: DENY']\n\
         [[site.route]]\npath = '/hop'\nremove_answer = ['Server']\n",
    );
    let fields = "X-User: root\r\nX_User: root\r\nCookie: a=b\r\nConnection: x-user, x-new\r\n";
    let answer = ask(&house, "GET /head", fields).await;
    let (head, seen) = answer.split_once("\r\n\r\n").unwrap();
    assert!(seen.contains("\nx-user: me\n") && seen.contains("\nx-new: 1\n"), "{seen}");
    for gone in ["root", "cookie"] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
    assert!(head.contains("x-frame-options: DENY"), "{head}");
    // Another path is not touched.
    let answer = ask(&house, "GET /head?", "Cookie: a=b\r\n").await;
    assert!(answer.contains("\nx-user: me\n"), "the query is no part of the path: {answer}");
    for (path, server) in [("/hop", false), ("/hop/", true)] {
        let answer = ask(&house, &format!("GET {path}"), "").await.to_lowercase();
        assert_eq!(answer.contains("\nserver: the-origin"), server, "{path}: {answer}");
        assert!(answer.contains("\nx-public: 1") && !answer.contains("x-frame"), "{answer}");
    }
}
