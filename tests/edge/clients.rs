//! Clients that are not ours: curl and nghttp, over HTTP/1.1 and HTTP/2, with large and slow bodies.

use std::process::Command;

use crate::house::{House, limits, site};
use crate::origin::Origin;

const LARGE: usize = 100 * 1024 * 1024;

fn open() -> (Origin, House) {
    let origin = Origin::start();
    let house = House::open(
        vec![site(&["a.example"], origin.address), site(&["b.example"], origin.address)],
        limits(),
    );
    (origin, house)
}

/// Most memory this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn curl_gets_the_same_over_both_protocols() {
    let (_origin, house) = open();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let url = house.url("a.example", "/head");
        let answer = house.curl("a.example", &[option, "-w", "v=%{http_version}", &url]);
        assert!(answer.contains(&format!("v={version}")), "{answer}");
        assert!(answer.contains("GET /head HTTP/1.1\n"), "{answer}");
        assert!(answer.contains(&format!("host: a.example:{}", house.https.port())), "{answer}");
    }
}

#[test]
fn tls_1_2_is_served_too() {
    let (_origin, house) = open();
    let url = house.url("a.example", "/");
    assert_eq!(house.curl("a.example", &["--tls-max", "1.2", &url]), "ok");
}

#[test]
fn large_bodies_pass_both_ways_in_little_memory() {
    let (_origin, house) = open();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("large-{}", std::process::id()));
    std::fs::File::create(&file).unwrap().set_len(LARGE as u64).unwrap();
    let upload = format!("@{}", file.display());
    let before = peak();
    for option in ["--http1.1", "--http2"] {
        let url = house.url("a.example", &format!("/bytes/{LARGE}"));
        let size =
            house.curl("a.example", &[option, "-o", "/dev/null", "-w", "%{size_download}", &url]);
        assert_eq!(size, LARGE.to_string(), "{option}");
        let url = house.url("a.example", "/count");
        let args = [option, "-H", "Expect:", "--data-binary", &upload, &url];
        assert_eq!(house.curl("a.example", &args), LARGE.to_string(), "{option}");
        let chunked =
            [option, "-H", "Transfer-Encoding: chunked", "-T", file.to_str().unwrap(), &url];
        assert_eq!(house.curl("a.example", &chunked), LARGE.to_string(), "{option}");
    }
    std::fs::remove_file(&file).unwrap();
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 * 1024, "memory grew by {grown} KiB");
}

#[test]
fn curl_waits_for_100_continue_and_gets_it() {
    let (_origin, house) = open();
    let url = house.url("a.example", "/count");
    let body = "x".repeat(2_000_000);
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("expect-{}", std::process::id()));
    std::fs::write(&file, body).unwrap();
    let upload = format!("@{}", file.display());
    let args = [
        "--http1.1",
        "--expect100-timeout",
        "30",
        "-H",
        "Expect: 100-continue",
        "--data-binary",
        &upload,
        "-w",
        " %{time_total}",
        &url,
    ];
    let answer = house.curl("a.example", &args);
    std::fs::remove_file(&file).unwrap();
    let (count, time) = answer.split_once(' ').unwrap();
    assert_eq!(count, "2000000");
    assert!(time.parse::<f64>().unwrap() < 20.0, "waited in vain: {time}");
}

#[test]
fn slow_answers_arrive_as_they_come() {
    let (_origin, house) = open();
    let url = house.url("a.example", "/drip/20/20");
    for option in ["--http1.1", "--http2"] {
        let args = [option, "-w", " %{time_starttransfer} %{time_total}", &url];
        let answer = house.curl("a.example", &args);
        let mut parts = answer.split(' ');
        assert_eq!(parts.next(), Some("x".repeat(20).as_str()));
        let first: f64 = parts.next().unwrap().parse().unwrap();
        let total: f64 = parts.next().unwrap().parse().unwrap();
        assert!(total - first > 0.2, "streamed, not collected: {answer}");
    }
}

#[test]
fn cookie_crumbs_of_http_2_arrive_as_one_field() {
    let (_origin, house) = open();
    let output = Command::new("nghttp")
        .args(["-H", "cookie: a=1", "-H", "cookie: b=2", "-H", ":authority: a.example"])
        .arg(format!("https://127.0.0.1:{}/head", house.https.port()))
        .output()
        .expect("nghttp is installed");
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.contains("cookie: a=1; b=2\n"), "{answer}");
    let url = house.url("a.example", "/head");
    let args = ["--http2", "-H", "Cookie: a=1", "-H", "Cookie: b=2", &url];
    let answer = house.curl("a.example", &args);
    assert!(answer.contains("cookie: a=1; b=2\n"), "{answer}");
}

#[test]
fn many_streams_share_one_connection() {
    let (origin, house) = open();
    let output = Command::new("h2load")
        .args(["-n", "500", "-c", "2", "-m", "20", "--connect-to"])
        .arg(format!("127.0.0.1:{}", house.https.port()))
        .arg("https://a.example/bytes/1024")
        .output()
        .expect("h2load is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("500 succeeded, 0 failed, 0 errored"), "{text}");
    assert_eq!(origin.seen(), 500);
    assert_eq!(house.edge.stats().handshakes.full, 2);
}

#[test]
fn another_site_on_the_same_connection_is_misdirected() {
    let (_origin, house) = open();
    for option in ["--http1.1", "--http2"] {
        let url = house.url("a.example", "/");
        for (host, expected) in [
            ("a.example", "200"),
            ("A.Example:443", "200"),
            ("b.example", "421"),
            ("c.example", "421"),
        ] {
            let header = format!("Host: {host}");
            let args = [option, "-o", "/dev/null", "-w", "%{http_code}", "-H", &header, &url];
            assert_eq!(house.curl("a.example", &args), expected, "{option} {host}");
        }
    }
}

#[test]
fn malformed_authorities_of_http_2_are_refused() {
    let (origin, house) = open();
    let url = house.url("a.example", "/");
    for host in ["u@a.example", "a.example/x", "a.example:x"] {
        let header = format!("Host: {host}");
        let output = Command::new("curl")
            .args(["-sS", "--http2", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"])
            .arg("--cacert")
            .arg(house.ca.root_file())
            .args(["--resolve", &format!("a.example:{}:127.0.0.1", house.https.port())])
            .args(["-H", &header, &url])
            .output()
            .expect("curl is installed");
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        // Either we refuse it, or the HTTP/2 library has reset the stream.
        assert!(status == "400" || status == "000", "{host}: {status}");
    }
    assert_eq!(origin.seen(), 0);
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let origin = Origin::start();
    let mut own = site(&["w.example"], origin.address);
    own.origin = keyward::config::Origin::Welcome;
    let house = House::open(vec![site(&["a.example"], origin.address), own], limits());
    for option in ["--http1.1", "--http2"] {
        for (name, path) in [("a.example", "/bytes/1000"), ("w.example", "/")] {
            let url = house.url(name, path);
            let head = house.curl(name, &[option, "-I", &url]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let size =
                house.curl(name, &[option, "-o", "/dev/null", "-w", "%{size_download}", &url]);
            assert_eq!(length, Some(size.as_str()), "{option} {name}: {head}");
        }
    }
}
