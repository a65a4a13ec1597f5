//! Pages for errors, sites that are being worked on, and answers made shorter on their way.

use std::io::Read as _;
use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;

use crate::origin::Origin;
use crate::policies::ask;
use crate::policies::field;
use crate::policies::house;
use crate::policies::status;

#[tokio::test]
async fn errors_of_our_own_have_the_operators_pages_and_an_origins_if_wanted() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("403.html", "<p>not for you"),
        ("4xx.html", "<p>some fault of yours"),
        ("502.html", "<p>it is down"),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let text = format!(
        "error_pages = {:?}\n[[site.route]]\npath = '/staff/*'\nallow = ['10.0.0.0/8']\n\
         [[site.route]]\npath = '/down/*'\norigin = 'http://127.0.0.1:1'\n\
         [[site.route]]\npath = '/all/*'\nrewrite = '/*'\nerror_pages = {:?}\n\
         error_pages_for = 'all'\n\
         [[site.route]]\npath = '/plain/*'\nallow = ['10.0.0.0/8']\nerror_pages = 'off'\n",
        dir.path(),
        dir.path()
    );
    let house = house(origin.address, &text);
    for (path, expected, page) in [
        ("/staff/a", "403", "<p>not for you"),
        ("/down/a", "502", "<p>it is down"),
        ("/%zz", "400", "<p>some fault of yours"),
        ("/early", "425", "the origin wants to be sure"),
        ("/all/early", "425", "<p>some fault of yours"),
        ("/plain/a", "403", "This is not for everybody.\n"),
        ("/head", "200", "GET /head"),
    ] {
        let answer = ask(&house, &format!("GET {path}"), "Early-Data: 1\r\n", "").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        assert!(body.starts_with(page), "{path}: {answer}");
        let html = field(head, "content-type") == Some("text/html; charset=utf-8");
        assert_eq!(html, page.starts_with('<'), "{head}");
        if html {
            assert_eq!(field(head, "content-length"), Some(page.len().to_string().as_str()));
        }
    }
    let answer = ask(&house, "HEAD /staff/a", "", "").await;
    assert!(answer.ends_with("\r\n\r\n") && field(&answer, "content-length") == Some("14"));
    // A page that changed is shown after the next look.
    std::fs::write(dir.path().join("403.html"), "<p>changed").unwrap();
    house.edge.publish(&house.config);
    assert!(ask(&house, "GET /staff/a", "", "").await.ends_with("<p>changed"));
}

#[tokio::test]
async fn a_site_is_closed_while_a_file_is_there_but_not_for_all() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("closed");
    std::fs::write(dir.path().join("maintenance.html"), "<p>back soon").unwrap();
    let text = |allow: &str| {
        let pages = dir.path();
        format!("maintenance = {flag:?}\nmaintenance_allow = {allow}\nerror_pages = {pages:?}\n")
    };
    let (all, others) =
        (house(origin.address, &text("[]")), house(origin.address, &text("['127.0.0.0/8']")));
    assert_eq!(status(&ask(&all, "GET /", "", "").await), "200");
    std::fs::write(&flag, "").unwrap();
    let later = || tokio::time::sleep(std::time::Duration::from_millis(1100));
    later().await;
    let answer = ask(&all, "GET /", "", "").await;
    assert_eq!(status(&answer), "503", "{answer}");
    assert!(field(&answer, "retry-after") == Some("60") && answer.ends_with("<p>back soon"));
    assert_eq!(status(&ask(&others, "GET /", "", "").await), "200");
    assert_eq!(all.edge.stats().policies.maintenance, 1);
    std::fs::remove_file(&flag).unwrap();
    later().await;
    assert_eq!(status(&ask(&all, "GET /", "", "").await), "200");
    let now = house(origin.address, "maintenance = 'on'\n");
    assert!(ask(&now, "GET /", "", "").await.contains("being worked on"));
    assert_eq!(origin.seen(), 3);
}

/// What `program` makes of `bytes`.
fn through(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let mut text = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
    writing.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    text
}

#[tokio::test]
async fn answers_are_made_shorter_as_the_client_prefers_and_only_if_it_is_worth_it() {
    let origin = Origin::start();
    let text = "compress = true\n[[site.route]]\npath = '/long/*'\nrewrite = '/*'\n\
                set_answer = ['Content-Type: text/html', 'ETag: \"abc\"']\n\
                [[site.route]]\npath = '/kept/*'\nrewrite = '/*'\n\
                set_answer = ['Content-Type: text/css', 'Cache-Control: public, no-transform']\n\
                [[site.route]]\npath = '/events/*'\nrewrite = '/*'\n\
                set_answer = ['Content-Type: text/event-stream']\n\
                [[site.route]]\npath = '/image/*'\nrewrite = '/*'\n\
                set_answer = ['Content-Type: image/png']\n\
                [[site.route]]\npath = '/done/*'\nrewrite = '/*'\n\
                set_answer = ['Content-Type: text/css', 'Content-Encoding: br']\n\
                [[site.route]]\npath = '/off/*'\nrewrite = '/*'\ncompress = false\n\
                set_answer = ['Content-Type: text/html']\n";
    let house = house(origin.address, text);
    let (all, long) = ("gzip, deflate, br, zstd", "/long/bytes/100000");
    for (path, accepted, expected) in [
        (long, all, Some("zstd")),
        (long, "gzip, br", Some("br")),
        (long, "gzip;q=1, br;q=0.5, zstd;q=0", Some("gzip")),
        (long, "zstd;q=0.2, gzip;q=0.3", Some("gzip")),
        (long, "", None),
        (long, "identity;q=0, compress", None),
        ("/long/bytes/1000", all, None),
        ("/kept/bytes/100000", all, None),
        ("/events/bytes/100000", all, None),
        ("/image/bytes/100000", all, None),
        ("/done/bytes/100000", all, None),
        ("/off/bytes/100000", all, None),
        ("/bytes/100000", all, None),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let accept = format!("Accept-Encoding: {accepted}");
        let shown = ["--http2", "-s", "-D", "-", "-H", &accept, "-o"];
        let url = house.url("a.example", path);
        let into = file.path().to_str().unwrap();
        let head = house.curl("a.example", &[&shown[..], &[into, &url]].concat()).replace('\r', "");
        let body = std::fs::read(file.path()).unwrap();
        let made = field(&head, "content-encoding").filter(|_| !path.starts_with("/done"));
        assert_eq!(made, expected, "{path} {accepted}: {head}");
        assert!(head.starts_with("HTTP/2 200"), "{head}");
        let plain = match expected {
            Some("zstd") => through("zstd", &body),
            Some("br") => {
                let mut plain = Vec::new();
                brotli::Decompressor::new(&body[..], 4096).read_to_end(&mut plain).unwrap();
                plain
            }
            Some(_) => through("gzip", &body),
            None => body.clone(),
        };
        let count: usize = path.rsplit('/').next().unwrap().parse().unwrap();
        assert!(plain.len() == count && plain.iter().all(|byte| *byte == b'x'), "{path}");
        assert!(expected.is_none() || body.len() < 1000, "{path}: {}", body.len());
        let length = field(&head, "content-length").is_some();
        assert_eq!(length, expected.is_none(), "{path}: {head}");
        if path == long {
            assert_eq!(field(&head, "vary"), Some("accept-encoding"), "{head}");
            let tag = if expected.is_some() { "W/\"abc\"" } else { "\"abc\"" };
            assert_eq!(field(&head, "etag"), Some(tag), "{head}");
        }
    }
}

#[tokio::test]
async fn what_an_origin_sends_bit_by_bit_arrives_bit_by_bit() {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    let origin = Origin::start();
    let text = "compress = true\n[[site.route]]\npath = '/*'\n\
                set_answer = ['Content-Type: text/html']\n";
    let house = house(origin.address, text);
    for encoding in ["zstd", "br", "gzip"] {
        let mut stream = house.tls("a.example").await;
        let request = format!(
            "GET /drip/4/1000 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
             Accept-Encoding: {encoding}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let started = std::time::Instant::now();
        let (mut pieces, mut buffer) = (0, [0; 4096]);
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            pieces += 1;
            if pieces == 2 {
                // The head and the first bit are here long before the last one.
                assert!(started.elapsed() < std::time::Duration::from_millis(2900), "{encoding}");
            }
            let _ = read;
        }
        assert!(pieces > 3, "{encoding}: {pieces}");
    }
}
