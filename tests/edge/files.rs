//! Files of a directory: what is given, in which form, and that nothing beside them is.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::house::House;
use crate::origin::Origin;
use crate::policies::ask;
use crate::policies::field;
use crate::policies::house;
use crate::policies::status;

/// A directory with a site in it, and a secret beside it.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("www");
    let put = |name: &str, text: &[u8]| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("index.html", b"<p>home");
    put("docs/index.html", b"<p>docs");
    put("empty/picture.png", b"png");
    put("app.js", b"0123456789");
    put("app.js.br", b"br of it");
    put("app.js.gz", b"gz of it");
    put("a b.txt", b"spaced");
    put(".env", b"secret");
    put(".git/config", b"secret");
    put(".well-known/security.txt", b"contact");
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    symlink(dir.path().join("secret"), root.join("out.txt")).unwrap();
    symlink("../secret", root.join("up.txt")).unwrap();
    symlink(dir.path(), root.join("outside")).unwrap();
    symlink("app.js", root.join("inside.js")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    dir
}

/// All that there is under `/static/`, and an origin for the rest.
fn served(origin: &Origin, root: &Path, more: &str) -> House {
    let root = root.join("www");
    let text = format!(
        "[[site.route]]\npath = '/static/*'\nrewrite = '/*'\nroot = {root:?}\n{more}\n\
         [[site.route]]\npath = '/docs/*'\nroot = {root:?}\n"
    );
    house(origin.address, &text)
}

#[tokio::test]
async fn files_are_given_with_their_type_and_directories_by_their_index() {
    let (origin, dir) = (Origin::start(), place());
    let house = served(&origin, dir.path(), "");
    for (path, expected, kind, body) in [
        ("/static/", "200", "text/html; charset=utf-8", "<p>home"),
        ("/static", "200", "text/html; charset=utf-8", "<p>home"),
        ("/static/app.js", "200", "text/javascript; charset=utf-8", "0123456789"),
        ("/static/inside.js", "200", "text/javascript; charset=utf-8", "0123456789"),
        ("/static/a%20b.txt", "200", "text/plain; charset=utf-8", "spaced"),
        ("/static/docs/", "200", "text/html; charset=utf-8", "<p>docs"),
        ("/docs/index.html", "200", "text/html; charset=utf-8", "<p>docs"),
        ("/static/empty/picture.png", "200", "image/png", "png"),
        ("/static/.well-known/security.txt", "200", "text/plain; charset=utf-8", "contact"),
        ("/static/empty/", "404", "text/plain; charset=utf-8", "There is nothing"),
        ("/static/none.js", "404", "text/plain; charset=utf-8", "There is nothing"),
        ("/static/app.js/x", "404", "text/plain; charset=utf-8", "There is nothing"),
        ("/other", "200", "", "ok"),
    ] {
        let answer = ask(&house, &format!("GET {path}"), "", "").await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        assert_eq!(field(&answer, "content-type").unwrap_or(""), kind, "{path}: {answer}");
        assert!(answer.split_once("\r\n\r\n").unwrap().1.starts_with(body), "{path}: {answer}");
    }
    assert_eq!(origin.seen(), 1);
    // A directory's address ends with a slash, in the path that the client knows.
    for (path, location) in [
        ("/static/docs?q=1", "/static/docs/?q=1"),
        ("/static//docs", "/static/docs/"),
        ("/docs", "/docs/"),
    ] {
        let answer = ask(&house, &format!("GET {path}"), "", "").await;
        assert_eq!(status(&answer), "307", "{answer}");
        assert_eq!(field(&answer, "location"), Some(location), "{answer}");
    }
    let answer = ask(&house, "HEAD /static/app.js", "", "").await;
    assert!(answer.ends_with("\r\n\r\n") && field(&answer, "content-length") == Some("10"));
    let answer = ask(&house, "POST /static/app.js", "Content-Length: 1\r\n", "x").await;
    assert_eq!((status(&answer), field(&answer, "allow")), ("405", Some("GET,HEAD")));
}

#[tokio::test]
async fn no_link_and_no_spelling_leads_out_of_the_directory() {
    let (origin, dir) = (Origin::start(), place());
    let house = served(&origin, dir.path(), "");
    for path in [
        "/static/.env",
        "/static/%2eenv",
        "/static/.git/config",
        "/static/x/..%2f.env",
        "/static/out.txt",
        "/static/up.txt",
        "/static/outside/secret",
        "/static/outside/www/app.js",
        "/static/%2e%2e/secret",
        "/static/..%2fsecret",
        "/static/..%5csecret",
        "/static/%2e%2e%2fsecret",
        "/static/a%00b",
        "/static/loop",
        "/static/pipe",
        "/static//etc/passwd",
        "/docs/..%2f..%2fsecret",
    ] {
        let answer = ask(&house, &format!("GET {path}"), "", "").await;
        let refused = ["404", "400"].contains(&status(&answer));
        // What leads to no route is the origin's business.
        let elsewhere = answer.ends_with("ok");
        assert!((refused || elsewhere) && !answer.contains("secret"), "{path}: {answer}");
    }
    // A site without routes, which passes paths as they are, is no different.
    let text = format!("root = {:?}\n", dir.path().join("www"));
    let config = format!("[[site]]\nnames = ['a.internal']\n{text}");
    let parsed = keyward::config::parse(&config, Path::new("keyward.toml"), [("", ""); 0]).unwrap();
    let mut site = crate::house::site(&["a.example"], origin.address);
    site.origin = parsed.config.sites[0].origin.clone();
    let plain = House::open(vec![site], crate::house::limits());
    for (path, expected) in [
        ("/../secret", "400"),
        ("/%2e%2e/secret", "400"),
        ("/x/..%2f..%2fsecret", "404"),
        ("//docs", "307"),
        ("/", "200"),
    ] {
        let answer = ask(&plain, &format!("GET {path}"), "", "").await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        assert!(!answer.contains("secret"), "{answer}");
        assert!(field(&answer, "location").is_none_or(|to| to == "/docs/"), "{answer}");
    }
}

#[tokio::test]
async fn parts_conditions_and_compressed_forms_are_those_of_the_file() {
    let (origin, dir) = (Origin::start(), place());
    let house = served(&origin, dir.path(), "");
    let first = ask(&house, "GET /static/app.js", "", "").await;
    let tag = field(&first, "etag").unwrap().to_owned();
    let date = field(&first, "last-modified").unwrap().to_owned();
    assert_eq!(field(&first, "accept-ranges"), Some("bytes"));
    assert_eq!(field(&first, "x-content-type-options"), Some("nosniff"));
    for (fields, expected, body) in [
        ("Range: bytes=2-4\r\n".to_owned(), "206", "234"),
        ("Range: bytes=-3\r\n".to_owned(), "206", "789"),
        ("Range: bytes=8-\r\n".to_owned(), "206", "89"),
        ("Range: bytes=90-\r\n".to_owned(), "416", "The file has no such part.\n"),
        ("Range: bytes=0-1,4-5\r\n".to_owned(), "200", "0123456789"),
        (format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n"), "206", "234"),
        (format!("Range: bytes=2-4\r\nIf-Range: {date}\r\n"), "206", "234"),
        ("Range: bytes=2-4\r\nIf-Range: \"other\"\r\n".to_owned(), "200", "0123456789"),
        (format!("If-None-Match: {tag}\r\n"), "304", ""),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), "304", ""),
        ("If-None-Match: \"x\"\r\n".to_owned(), "200", "0123456789"),
        (format!("If-Modified-Since: {date}\r\n"), "304", ""),
        ("If-Match: \"x\"\r\n".to_owned(), "412", "The file is not as it was.\n"),
        ("Accept-Encoding: gzip, br\r\n".to_owned(), "200", "br of it"),
        ("Accept-Encoding: gzip\r\n".to_owned(), "200", "gz of it"),
        ("Accept-Encoding: zstd\r\n".to_owned(), "200", "0123456789"),
    ] {
        let answer = ask(&house, "GET /static/app.js", &fields, "").await;
        assert_eq!(status(&answer), expected, "{fields}: {answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body, "{fields}");
        let encoding = field(&answer, "content-encoding");
        let form = body.strip_suffix(" of it").map(|form| if form == "gz" { "gzip" } else { form });
        assert_eq!(encoding, form, "{fields}: {answer}");
        if expected == "206" || expected == "416" {
            assert!(field(&answer, "content-range").unwrap().ends_with("/10"), "{answer}");
        }
    }
    // Beyond one read, and the last part of it, by curl over HTTP/2.
    let big: Vec<u8> = (0..5_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    std::fs::write(dir.path().join("www/big.bin"), &big).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let into = file.path().to_str().unwrap();
    let url = house.url("a.example", "/static/big.bin");
    house.curl("a.example", &["--http2", "-o", into, &url]);
    assert!(std::fs::read(file.path()).unwrap() == big);
    house.curl("a.example", &["--http2", "-r", "4999990-", "-o", into, &url]);
    assert!(std::fs::read(file.path()).unwrap() == big[4_999_990..]);
}

#[tokio::test]
async fn an_application_has_its_page_where_there_is_none() {
    let (origin, dir) = (Origin::start(), place());
    let house = served(&origin, dir.path(), "fallback = 'index.html'");
    for (path, expected, body) in [
        ("/static/users/7", "200", "<p>home"),
        ("/static/docs/", "200", "<p>docs"),
        ("/static/none.png", "404", "There is nothing of this name here.\n"),
        ("/static/.env", "404", "There is nothing of this name here.\n"),
    ] {
        let answer = ask(&house, &format!("GET {path}"), "", "").await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        assert!(answer.ends_with(body), "{path}: {answer}");
    }
    // A site is changed whole by turning a link.
    let link = dir.path().join("now");
    symlink(dir.path().join("www"), &link).unwrap();
    let turned = crate::policies::house(
        origin.address,
        &format!("[[site.route]]\npath = '/docs/*'\nroot = {link:?}\n"),
    );
    assert!(ask(&turned, "GET /docs/", "", "").await.ends_with("<p>docs"));
    let next = dir.path().join("next/docs");
    std::fs::create_dir_all(&next).unwrap();
    std::fs::write(next.join("index.html"), "<p>next").unwrap();
    std::fs::remove_file(&link).unwrap();
    symlink(dir.path().join("next"), &link).unwrap();
    assert!(ask(&turned, "GET /docs/", "", "").await.ends_with("<p>next"));
}
