//! The access log, as whoever reads it finds it: one line for each request, whole and true.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use keyward::config;
use keyward::config::{AccessFormat, AccessLogTo, RequestIds};

use crate::house::{House, limits, site};
use crate::origin::Origin;

struct Logged {
    house: House,
    _origin: Origin,
    dir: tempfile::TempDir,
}

impl Logged {
    fn start(adapt: impl FnOnce(&mut config::Config)) -> Self {
        let origin = Origin::start();
        let mut house = House::open(vec![site(&["a.example"], origin.address)], limits());
        let dir = tempfile::tempdir().unwrap();
        house.config.access_log.to = Some(AccessLogTo::File(dir.path().join("access.log")));
        adapt(&mut house.config);
        house.edge.publish(&house.config);
        Self { house, _origin: origin, dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("access.log")
    }

    /// The lines of the log, once there are `count`.
    fn lines(&self, count: usize) -> Vec<String> {
        lines(&self.file(), count)
    }

    fn json(&self, count: usize) -> Vec<serde_json::Value> {
        self.lines(count).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn curl(&self, path: &str, arguments: &[&str]) -> String {
        let url = self.house.url("a.example", path);
        self.house.curl("a.example", &[arguments, &[&url]].concat())
    }
}

fn read(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "a line is cut: {text}");
    text.lines().map(str::to_owned).collect()
}

fn lines(path: &Path, count: usize) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let lines = read(path);
        if lines.len() >= count {
            assert_eq!(lines.len(), count, "{lines:#?}");
            return lines;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{count} lines: {lines:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Long enough for a line that should not come.
fn settle() {
    std::thread::sleep(Duration::from_millis(600));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_object_and_its_query_is_hidden() {
    let logged = Logged::start(|_| {});
    logged.curl(
        "/bytes/1000?token=secret",
        &["--http1.1", "-A", "a \"b\" \\ é", "-e", "https://b.example/x?secret=1"],
    );
    logged.curl("/bytes/2000", &["--http2", "-I"]);
    let lines = logged.json(2);
    let (first, second) = (&lines[0], &lines[1]);
    for (name, expected) in [
        ("client", "127.0.0.1"),
        ("site", "a.example"),
        ("host", &format!("a.example:{}", logged.house.https.port())),
        ("method", "GET"),
        ("target", "/bytes/1000?[hidden]"),
        ("protocol", "HTTP/1.1"),
        ("referer", "https://b.example/x?[hidden]"),
        ("user_agent", "a \"b\" \\ é"),
    ] {
        assert_eq!(first[name], expected, "{name}: {first:#}");
    }
    assert_eq!((&first["status"], &first["octets"]), (&200.into(), &1000.into()), "{first:#}");
    assert_eq!(first["complete"], true);
    assert!(first["milliseconds"].as_f64().unwrap() < 20_000.0, "{first:#}");
    let time: jiff::Timestamp = first["time"].as_str().unwrap().parse().unwrap();
    assert!(time.duration_until(jiff::Timestamp::now()).as_secs() < 30, "{first:#}");
    assert!(!first.to_string().contains("secret"), "{first:#}");
    assert_eq!(first["request_id"], serde_json::Value::Null, "nobody asked for ids");
    let said = ["method", "target", "protocol"].map(|name| second[name].as_str().unwrap());
    assert_eq!(said, ["HEAD", "/bytes/2000", "HTTP/2.0"], "{second:#}");
    assert_eq!(second["octets"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_formats_that_everybody_reads_are_written_to_the_letter() {
    let logged = Logged::start(|config| config.access_log.format = AccessFormat::Combined);
    let hostile = "x\" 200 9\t\u{e9}";
    logged.curl("/bytes/5?a=b", &["--http1.1", "-A", hostile, "-e", "http://r.example/"]);
    logged.curl("/bytes/5", &["--http1.1", "-A", ""]);
    let lines = logged.lines(2);
    let date = lines[0].split(['[', ']']).nth(1).unwrap();
    jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", date).unwrap();
    let expected = format!(
        "127.0.0.1 - - [{date}] \"GET /bytes/5?[hidden] HTTP/1.1\" 200 5 \
         \"http://r.example/\" \"x\\x22 200 9\\x09\\xC3\\xA9\""
    );
    assert_eq!(lines[0], expected);
    assert!(lines[1].ends_with("\"GET /bytes/5 HTTP/1.1\" 200 5 \"-\" \"-\""), "{}", lines[1]);

    let logged = Logged::start(|config| {
        config.access_log.format = AccessFormat::Common;
        config.access_log.queries = true;
    });
    logged.curl("/bytes/5?a=b", &["--http1.1"]);
    let line = logged.lines(1).remove(0);
    assert!(line.ends_with("+0000] \"GET /bytes/5?a=b HTTP/1.1\" 200 5"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_and_what_is_redirected_stands_there_too() {
    let logged = Logged::start(|_| {});
    logged.curl("/", &["-H", "Host: b.example"]);
    let port = logged.house.http.port();
    logged.house.curl("a.example", &[&format!("http://a.example:{port}/moved?x=1")]);
    // The client goes away before there is an answer.
    let mut stream = logged.house.tls("a.example").await;
    let request = b"GET /silent HTTP/1.1\r\nHost: a.example\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stream);
    let lines = logged.json(3);
    let of = |index: usize, name: &str| lines[index][name].clone();
    assert_eq!((of(0, "status"), of(0, "site")), (421.into(), serde_json::Value::Null));
    assert_eq!((of(1, "status"), of(1, "site")), (308.into(), "a.example".into()));
    assert_eq!(of(1, "target"), "/moved?[hidden]");
    assert_eq!((of(2, "status"), of(2, "complete")), (499.into(), false.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_moved_away_is_opened_again_and_no_line_is_lost() {
    let logged = Logged::start(|_| {});
    let url = logged.house.url("a.example", "/bytes/100");
    let address = logged.house.https.to_string();
    let load = |count: &str| {
        let output = Command::new("h2load")
            .args(["-n", count, "-c", "8", "-m", "4", "--connect-to", &address, &url])
            .output()
            .expect("h2load is installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("{count} succeeded")), "{said}");
    };
    load("2000");
    let old = logged.dir.path().join("access.log.1");
    lines(&logged.file(), 2000);
    std::fs::rename(logged.file(), &old).unwrap();
    load("100");
    logged.house.edge.reopen_access_log();
    load("300");
    let begin = Instant::now();
    while read(&logged.file()).len() + read(&old).len() < 2400 {
        assert!(begin.elapsed() < Duration::from_secs(20), "lines are missing");
        std::thread::sleep(Duration::from_millis(20));
    }
    settle();
    let (before, after) = (read(&old), read(&logged.file()));
    assert_eq!(before.len() + after.len(), 2400);
    assert!(after.len() >= 300, "{} lines in the new file", after.len());
    for line in before.iter().chain(&after) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["status"], &line["octets"]), (&200.into(), &100.into()));
    }
    let figures = logged.house.edge.stats().access_log;
    assert_eq!((figures.written, figures.lost), (2400, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_of_so_many_is_logged_and_every_failure() {
    let logged = Logged::start(|config| {
        config.access_log.sample = 10;
        config.edge.workers = 1;
        // Nobody listens there.
        let mut broken = site(&["b.example"], "127.0.0.1:1".parse().unwrap());
        broken.default = true;
        config.sites.push(broken);
        let mut quiet = config.sites[0].clone();
        quiet.names = vec![keyward::cert::identifier::Identifier::parse("c.example").unwrap()];
        quiet.access_log = false;
        config.sites.push(quiet);
    });
    for name in ["b.example", "c.example"] {
        let both = ["a.example", "b.example", "c.example"];
        let all = both.map(|name| logged.house.ca.issue(&[name]));
        logged.house.show(all.to_vec());
        for _ in 0..3 {
            let url = logged.house.url(name, "/");
            logged.house.curl(name, &[&url]);
        }
    }
    let url = logged.house.url("a.example", "/bytes/1");
    let many: Vec<&str> = std::iter::repeat_n(url.as_str(), 100).collect();
    logged.house.curl("a.example", &many);
    settle();
    let lines: Vec<serde_json::Value> =
        read(&logged.file()).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| lines.iter().filter(|line| line["site"] == name).count();
    assert_eq!(of("b.example"), 3, "all that failed: {lines:#?}");
    assert_eq!(of("c.example"), 0, "this site wants no lines");
    // Each of the two workers counts for itself.
    assert!((9..=11).contains(&of("a.example")), "{}", of("a.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_takes_nothing_costs_lines_and_no_request() {
    let logged = Logged::start(|config| {
        config.access_log.to = Some(AccessLogTo::File("/dev/full".into()));
    });
    for _ in 0..3 {
        assert_eq!(logged.curl("/bytes/3", &[]).len(), 3);
    }
    settle();
    let figures = logged.house.edge.stats().access_log;
    assert_eq!((figures.written, figures.lost), (0, 3));
    // Somewhere else, lines are written at once.
    let mut config = logged.house.config.clone();
    config.access_log.to = Some(AccessLogTo::File(logged.file()));
    logged.house.edge.publish(&config);
    logged.curl("/bytes/3", &[]);
    logged.lines(1);
    // And nowhere, nothing is lost: nobody wants lines.
    config.access_log.to = None;
    logged.house.edge.publish(&config);
    logged.curl("/bytes/3", &[]);
    settle();
    assert_eq!(logged.lines(1).len(), 1);
    assert_eq!(logged.house.edge.stats().access_log.lost, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_are_written_before_the_end() {
    let logged = Logged::start(|_| {});
    logged.curl("/bytes/7", &[]);
    logged.house.edge.drain(Duration::from_secs(5)).await;
    assert_eq!(read(&logged.file()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_made_or_kept_and_stand_everywhere() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let theirs = ["-H", "X-Request-Id: mine", "-H", &format!("traceparent: {PARENT}")];
    let ask = |ids| {
        let logged = Logged::start(|config| config.edge.request_ids = ids);
        let answer = logged.curl("/head", &[&["--http1.1", "-i"], theirs.as_slice()].concat());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::to_owned)
        };
        let line = logged.json(1).remove(0);
        (
            field(head, "x-request-id: "),
            field(body, "x-request-id: "),
            field(body, "traceparent: "),
            line,
        )
    };
    let some = |text: &str| Some(text.to_owned());
    let (answer, request, parent, line) = ask(RequestIds::Off);
    assert_eq!((answer, request, parent), (None, some("mine"), some(PARENT)));
    assert_eq!(line["request_id"], serde_json::Value::Null);
    let (answer, request, parent, line) = ask(RequestIds::Keep);
    assert_eq!((answer, request, parent), (some("mine"), some("mine"), some(PARENT)));
    assert_eq!(line["request_id"], "mine");
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let (answer, request, parent, line) = ask(RequestIds::Make);
    let (answer, parent) = (answer.unwrap(), parent.unwrap());
    assert!(answer.len() == 32 && answer != "mine", "{answer}");
    assert_eq!(request, Some(answer.clone()));
    assert_eq!(
        (&line["request_id"], &line["trace_id"]),
        (&answer.clone().into(), &answer.clone().into())
    );
    assert_eq!(parent.split('-').nth(1), Some(answer.as_str()));
}

/// What curl shows itself as, by the log and by the origin, is one and the same.
#[test]
fn what_was_agreed_on_stands_in_the_log_and_reaches_the_origin() {
    let logged = Logged::start(|config| {
        config.access_log.tls = true;
        config.sites[0].tls_headers = true;
    });
    // A client cannot say it of itself, with whatever lines in the name.
    let forged = ["-H", "X-TLS-JA4: forged", "-H", "X_TLS_Version: forged"];
    let strong = ["--tls13-ciphers", "TLS_AES_256_GCM_SHA384"];
    let seen = logged.curl("/head", &[&strong[..], &forged[..]].concat());
    assert!(!seen.contains("forged"), "{seen}");
    let older = logged.curl("/head", &["--tls-max", "1.2", "--http1.1"]);
    let lines = logged.json(2);
    for (line, seen, version, start) in
        [(&lines[0], &seen, "TLSv1.3", "t13d"), (&lines[1], &older, "TLSv1.2", "t12d")]
    {
        assert_eq!((&line["tls"], &line["sni"]), (&version.into(), &"a.example".into()), "{line}");
        let ja4 = line["ja4"].as_str().unwrap();
        assert!(ja4.starts_with(start) && ja4.len() == 36, "{ja4}");
        for told in [
            format!("x-tls-version: {version}"),
            format!("x-tls-cipher: {}", line["cipher"].as_str().unwrap()),
            "x-tls-name: a.example".to_owned(),
            format!("x-tls-ja4: {ja4}"),
        ] {
            assert!(seen.contains(&told), "{told}: {seen}");
        }
    }
    assert_eq!(lines[0]["cipher"], "TLS_AES_256_GCM_SHA384");
    let alpn = |line: &serde_json::Value| line["ja4"].as_str().unwrap()[8..10].to_owned();
    assert_eq!((alpn(&lines[0]), alpn(&lines[1])), ("h2".to_owned(), "h1".to_owned()));
}

/// The fingerprint of a client that came over QUIC begins with another letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_3_the_same_is_told() {
    let logged = Logged::start(|config| {
        config.access_log.tls = true;
        config.sites[0].tls_headers = true;
    });
    let house = &logged.house;
    crate::http3::offer(house);
    let root = house.ca.root();
    let mut client = crate::quic::Http3::connect(&root, house.https, "a.example").await.unwrap();
    let (_, seen) = client.get("https://a.example/head").await.unwrap();
    let line = logged.json(1).remove(0);
    assert_eq!((&line["tls"], &line["sni"]), (&"TLSv1.3".into(), &"a.example".into()), "{line}");
    let ja4 = line["ja4"].as_str().unwrap();
    assert!(ja4.starts_with("q13d") && &ja4[8..10] == "h3" && ja4.len() == 36, "{ja4}");
    for told in [
        "x-tls-version: TLSv1.3".to_owned(),
        format!("x-tls-cipher: {}", line["cipher"].as_str().unwrap()),
        "x-tls-name: a.example".to_owned(),
        format!("x-tls-ja4: {ja4}"),
    ] {
        assert!(seen.contains(&told), "{told}: {seen}");
    }
}

#[test]
fn a_line_of_text_has_it_at_its_end() {
    let logged = Logged::start(|config| {
        config.access_log.tls = true;
        config.access_log.format = AccessFormat::Combined;
    });
    let seen = logged.curl("/head", &["--tls13-ciphers", "TLS_AES_256_GCM_SHA384"]);
    // The site did not ask for it.
    assert!(!seen.contains("x-tls-"), "{seen}");
    let lines = logged.lines(1);
    let (_, end) = lines[0].rsplit_once('"').unwrap();
    assert!(end.starts_with(" TLSv1.3 TLS_AES_256_GCM_SHA384 a.example t13d"), "{}", lines[0]);
}
