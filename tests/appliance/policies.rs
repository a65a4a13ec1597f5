//! Files, passwords, rates and a closed site, of the installed program and from behind main's wall.

use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::origin::Origin;

/// The line that the program makes of a name and a password.
fn line(name: &str, password: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["hash-password", name, "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_site_of_files_with_a_guarded_part_is_closed_and_opened_again() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    let (www, pages) = (dir.path().join("www"), dir.path().join("pages"));
    for (path, text) in [
        (www.join("index.html"), "<p>home"),
        (www.join("staff/plan.txt"), "the plan"),
        (pages.join("404.html"), "<p>not here"),
        (pages.join("maintenance.html"), "<p>back soon"),
    ] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let (users, flag) = (dir.path().join("users"), dir.path().join("closed"));
    std::fs::write(&users, line("ann", "correct horse")).unwrap();
    let site = format!(
        "[[site]]\nnames = [\"nas.internal\"]\nroot = {www:?}\nerror_pages = {pages:?}\n\
         maintenance = {flag:?}\ncompress = true\n\
         [[site.route]]\npath = \"/staff/*\"\nbasic_auth = {{ users_file = {users:?} }}\n\
         [[site.route]]\npath = \"/api/*\"\norigin = \"http://{}\"\nrate = \"2/h\"\n",
        origin.address
    );
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let root = dir.path().join("root.pem");
    std::fs::write(&root, keyward.cli(&["trust", "--print"]).ok()).unwrap();
    let ask = |path: &str, more: &[&str]| {
        let more = [more, &["-w", " %{http_code}"]].concat();
        keyward.curl(&root, "nas.internal", path, &more).ok()
    };
    eventually("it is served", Duration::from_secs(20), || {
        let said = keyward.curl(&root, "nas.internal", "/", &[]);
        (said.status.success() && said.out == "<p>home").then_some(())
    });
    assert_eq!(ask("/none", &[]), "<p>not here 404");
    assert!(ask("/staff/plan.txt", &[]).ends_with(" 401"));
    assert!(ask("/staff/plan.txt", &["-u", "ann:wrong horse"]).ends_with(" 401"));
    assert_eq!(ask("/staff/plan.txt", &["-u", "ann:correct horse"]), "the plan 200");
    let told = ["/api/a", "/api/b", "/api/c"].map(|path| ask(path, &[]));
    assert!(told[0] == "ok 200" && told[1] == "ok 200" && told[2].ends_with(" 429"), "{told:?}");
    assert_eq!(origin.seen(), 2);

    // Whoever looks at the certificate sees what is asked, and the routes.
    let shown = keyward.cli(&["show", "nas.internal"]).ok();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        format!("asks closed while {} is there", flag.display()),
        "compressed".to_owned(),
        "routes /staff/* as the site; asks: ".to_owned(),
        format!("/api/* to http://{}; asks: ", origin.address),
        "2 requests in a hour, 2 at once for each client network".to_owned(),
    ] {
        assert!(shown.contains(&told), "{told}: {shown}");
    }

    std::fs::write(&flag, "").unwrap();
    eventually("it is closed", Duration::from_secs(10), || {
        (ask("/", &[]) == "<p>back soon 503").then_some(())
    });
    std::fs::remove_file(&flag).unwrap();
    eventually("it is open", Duration::from_secs(10), || {
        (ask("/", &[]) == "<p>home 200").then_some(())
    });

    // A new password holds without a reload; what the daemon logs holds none.
    std::fs::write(&users, line("ann", "another horse")).unwrap();
    eventually("the file is read again", Duration::from_secs(40), || {
        let told = ask("/staff/plan.txt", &["-u", "ann:another horse"]);
        (told == "the plan 200").then_some(()).or_else(|| {
            std::thread::sleep(Duration::from_secs(7));
            None
        })
    });
    let figures = keyward.cli(&["status", "--json"]).json();
    let count = |name: &str| figures["edge"][format!("policies.{name}")].as_u64().unwrap();
    assert!(count("over_rate") == 1 && count("unauthorized") >= 2, "{figures:#}");
    assert!(count("maintenance") >= 1, "{figures:#}");
    let log = keyward.log();
    assert!(!log.contains("horse") && !log.contains("argon2id"), "{log}");
}
