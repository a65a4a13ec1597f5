//! Tags of certificates, filters of their list, and problems for what the framework refuses.

use keyward::admin::wire::Certificates;

use crate::house::Running;
use crate::socket::ask;
use crate::socket::problem;

fn tag(answer: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    line.to_owned()
}

#[test]
fn a_change_goes_on_only_if_it_is_as_if_match_says() {
    let running = Running::start();
    let shown = ask(&running, "GET", "/v1/certificates/shop.example", "");
    let now = tag(&shown);
    assert_eq!(now, "\"aa00000000000001-5\"");
    let known = format!("if-none-match: \"x\", {now}\r\n");
    let answer = ask(&running, "GET", "/v1/certificates/shop.example", &known);
    assert!(answer.starts_with("HTTP/1.1 304 ") && tag(&answer) == now, "{answer}");
    for (method, rest) in
        [("POST", "/renew"), ("POST", "/unhost"), ("POST", "/host"), ("DELETE", "")]
    {
        let path = format!("/v1/certificates/shop.example{rest}");
        let other = "if-match: \"aa00000000000001-4\"\r\n";
        let refused = problem(&ask(&running, method, &path, other));
        assert_eq!((refused.status, refused.kind.as_str()), (412, "/problems/changed"), "{path}");
        assert!(refused.detail.contains(&now), "{}", refused.detail);
        if rest == "/renew" {
            let same = format!("if-match: {now}\r\n");
            assert!(ask(&running, method, &path, &same).starts_with("HTTP/1.1 202 "), "{path}");
        }
    }
    let nowhere = "/v1/certificates/nowhere.example/renew";
    assert_eq!(problem(&ask(&running, "POST", nowhere, "if-match: *\r\n")).status, 404);
}

#[test]
fn the_list_is_narrowed_and_a_question_that_is_none_is_told() {
    let running = Running::start();
    let list = |question: &str| {
        let answer = ask(&running, "GET", &format!("/v1/certificates?{question}"), "");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str::<Certificates>(body).unwrap().certificates
    };
    assert_eq!(list("phase=holding").len(), 1);
    assert_eq!(list("phase=halted")[0].names, ["broken.example"]);
    for (question, word) in [
        ("name=a%20b", "name"),
        ("client=Ann", "client"),
        ("expires_before=soon", "expires_before"),
        ("colour=red", "colour"),
        ("limit=0", "limit"),
        ("limit=many", "limit"),
    ] {
        let refused = problem(&ask(&running, "GET", &format!("/v1/certificates?{question}"), ""));
        assert_eq!((refused.status, refused.kind.as_str()), (400, "/problems/bad-question"));
        assert!(refused.detail.contains(word), "{question}: {}", refused.detail);
    }
}
