//! Tests of a request in the forms of both versions.

use super::*;

fn request() -> Request<UpBody> {
    Request::builder()
        .uri("/a?b=c")
        .header(HOST, "a.example:8443")
        .header(TE, "trailers")
        .header(CONNECTION, "TE")
        .header("x", "1")
        .body(UpBody::Empty)
        .unwrap()
}

fn fields(request: &Request<UpBody>) -> Vec<(&str, &str)> {
    let mut all: Vec<_> =
        request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    all.sort_unstable();
    all
}

#[test]
fn in_the_form_of_http_2_nothing_is_about_the_connection() {
    for (secure, target) in
        [(false, "http://a.example:8443/a?b=c"), (true, "https://a.example:8443/a?b=c")]
    {
        let mut request = request();
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        to_two(&mut request, secure).unwrap();
        assert_eq!(request.uri(), target);
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(fields(&request), [("te", "trailers"), ("x", "1")]);
    }
}

#[test]
fn there_and_back_it_is_the_same_and_another_host_holds() {
    let mut there = request();
    to_two(&mut there, true).unwrap();
    to_one(&mut there).unwrap();
    let before = request();
    assert_eq!((there.uri(), there.version()), (before.uri(), before.version()));
    assert_eq!(fields(&there), fields(&before));
    // For another server.
    to_two(&mut there, true).unwrap();
    there.headers_mut().insert(HOST, HeaderValue::from_static("b.example"));
    to_two(&mut there, false).unwrap();
    assert_eq!(there.uri(), "http://b.example/a?b=c");
    there.headers_mut().insert(HOST, HeaderValue::from_static("c.example"));
    to_one(&mut there).unwrap();
    assert_eq!(there.uri(), "/a?b=c");
    assert_eq!(there.headers()[HOST], "c.example");
}

#[test]
fn a_host_that_is_none_has_no_such_form() {
    let mut request = request();
    request.headers_mut().insert(HOST, HeaderValue::from_static("a b"));
    assert!(to_two(&mut request, true).is_none());
}
