//! The real program as a client of the socket: what it prints and how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use keyward::admin::HouseError;
use keyward::admin::wire::CertificateView;
use keyward::admin::wire::Certificates;
use keyward::admin::wire::EntryView;
use keyward::admin::wire::Journal;
use keyward::admin::wire::Reloaded;
use keyward::admin::wire::Status;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::house::DAY;
use crate::house::Running;
use crate::house::at;
use crate::house::command;
use crate::house::ended;
use crate::house::pause;

/// A moment as the program shows it in UTC.
fn shown(running: &Running, seconds: i64) -> String {
    let start = i64::try_from(running.fake.started.as_unix()).unwrap();
    let moment = jiff::Timestamp::from_second(start + seconds).unwrap();
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[test]
fn status_as_a_person_reads_it() {
    let running = Running::start();
    let (status, out, err) = running.keyward(&["status"]);
    let expected = format!(
        "\
keyward        1.2.3, process 4711, up 2 h since {}
alarm          a key signs too much
configuration  /etc/keyward/keyward.toml, applied {} (3 h ago)
sites          2
certificates   1 served, 1 needs you
listening      https on [::]:443 (from the service manager)
kernel         kernel TLS (missing: an old kernel)
traffic        34 requests, 0 connections open, 0 handshakes of which 0 resumed
tickets        fast, key 7 since {} (2 h ago), next {} (in 2 h); 0 issued, 0 accepted
walls          dumps, files (partly: an old kernel)
vault          process 4712, 1 restart, 0 keys open, 12 signatures
busy key       070707070707 of shop.example: 1201 signatures for 1201 handshakes, 30 in a minute, \
since {}
vault walls    landlock, seccomp
walls wanted   available
master key     the file /k
next           {} (in 29 d)
notice         a plain file
try: keyward list
",
        shown(&running, -7300),
        shown(&running, -(3 * 3600 + 60)),
        shown(&running, -7300),
        shown(&running, 7300),
        shown(&running, -7300),
        shown(&running, 29 * 86_400 + 3600),
    );
    assert_eq!((status, out.as_str(), err.as_str()), (0, expected.as_str(), ""));
    let (status, out, _) = running.keyward(&["status", "-v"]);
    assert_eq!(status, 0);
    assert!(out.contains("\nvault channel  shared memory\n"), "{out}");
    assert!(out.contains("\nfigure         vault.signatures 12\n"), "{out}");
    assert!(out.contains("\nfigure         door.connections 5\n"), "{out}");
}

#[test]
fn the_list_begins_with_what_needs_somebody_and_says_why() {
    let running = Running::start();
    let (status, out, err) = running.keyward(&["list"]);
    let expected = "\
NAME             STATE      EXPIRES  NEXT            ISSUER           ID
broken.example   needs you  -        stopped         letsencrypt.org  bb000000
shop.example +1  served     in 59 d  renews in 29 d  letsencrypt.org  aa000000

broken.example needs you: broken.example: the CA does not [2Jlike it
  try: the CA does not sign this name; set issuer = \"internal\" for it
";
    assert_eq!((status, out.as_str(), err.as_str()), (0, expected, ""));
    assert!(out.lines().take(3).all(|line| line.len() <= 80));
}

#[test]
fn a_narrow_reader_gets_narrow_tables_and_colours_only_when_asked_for() {
    let running = Running::start();
    let narrow = command(&running.socket, &["list"]).env("COLUMNS", "60").output().unwrap();
    let (_, out, _) = ended(&narrow);
    assert!(out.split("\n\n").next().unwrap().lines().all(|line| line.len() <= 60), "{out}");
    let (_, plain, _) = running.keyward(&["list"]);
    assert!(!plain.contains('\u{1b}'));
    let (_, coloured, _) = running.keyward(&["--color", "always", "list"]);
    assert!(coloured.contains("\u{1b}[38;5;9mneeds you"), "{coloured:?}");
    let never = command(&running.socket, &["--color", "never", "list"])
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert_eq!(ended(&never).1, plain);
    let quiet = command(&running.socket, &["list"]).env("NO_COLOR", "1").output().unwrap();
    assert_eq!(ended(&quiet).1, plain);
}

#[test]
fn show_tells_everything_about_one_certificate() {
    let running = Running::start();
    for name in ["www.shop.example", "aa00", "aa00000000000001"] {
        let (status, out, _) = running.keyward(&["show", name]);
        assert_eq!(status, 0);
        let expected = format!(
            "\
name         shop.example
             www.shop.example
state        served (issued)
next         renews in 29 d
id           aa00000000000001
issuer       acme-v02.api.letsencrypt.org
key          p256
serial       0a0b
signed by    C=US, O=Let's Encrypt, CN=E7
key id       {key}
valid from   {from} (30 d ago)
valid until  {until} (in 59 d), 66 % left
installed    {installed} (30 d ago)
signed       1201 signatures for 1201 handshakes, 30 in a minute, since {since}
phase        holding
renewal      {renewal} (in 29 d)
",
            key = "07".repeat(32),
            from = shown(&running, -(30 * 86_400 + 60)),
            until = shown(&running, 59 * 86_400 + 3600),
            installed = shown(&running, -30 * 86_400),
            since = shown(&running, -7300),
            renewal = shown(&running, 29 * 86_400 + 3600),
        );
        assert_eq!(out, expected);
    }
    let (_, out, _) = running.keyward(&["show", "broken.example"]);
    let tail = format!(
        "\
served         nothing yet
phase          halted
failed         rejected: broken.example: the CA does not [2Jlike it
then           nothing is tried until you act
stopped since  {} (3 d ago)
try            the CA does not sign this name; set issuer = \"internal\" for it
",
        shown(&running, -(3 * 86_400 + 60))
    );
    assert!(out.ends_with(&tail), "{out}");
}

#[test]
fn sites_as_a_table() {
    let running = Running::start();
    let expected = "\
SITE                    STATE   ORIGIN                 ISSUER           OTHER NAMES
shop.example (default)  served  http://127.0.0.1:8080  letsencrypt.org  www.shop.example
";
    assert_eq!(running.keyward(&["sites"]), (0, expected.to_owned(), String::new()));
}

#[test]
fn json_is_what_travels() {
    let running = Running::start();
    running.fake.tell("started", "info", None, "hello");
    let json = |arguments: &[&str]| {
        let (status, out, err) = running.keyward(&[&["--json"], arguments].concat());
        assert_eq!((status, err.as_str()), (0, ""), "{arguments:?}");
        out
    };
    let status: Status = serde_json::from_str(&json(&["status"])).unwrap();
    assert_eq!((status.pid, status.vault.figures["signatures"]), (4711, 12));
    let list: Certificates = serde_json::from_str(&json(&["list"])).unwrap();
    let mut expected = running.fake.all();
    expected.reverse();
    assert_eq!(list.certificates, expected);
    let one: CertificateView = serde_json::from_str(&json(&["show", "bb00"])).unwrap();
    assert_eq!(one, expected[0]);
    let journal: Journal = serde_json::from_str(&json(&["events"])).unwrap();
    assert_eq!(journal.entries, running.fake.entries());
    // The form of the text is part of the interface, not only what serde makes of it.
    let text = json(&["list"]);
    let expires = at(running.fake.started, 59 * DAY + 3600);
    assert!(text.contains(&format!("\"not_after\":\"{expires}\"")), "{text}");
    assert!(text.contains("\"state\":\"needs you\""), "{text}");
}

#[test]
fn a_daemon_that_is_not_there_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let expect = |why: &str| {
        let line = format!(
            "error: keyward is not running (no answer on {}: {why})\n  \
             try: systemctl status keyward\n",
            socket.display()
        );
        for arguments in [&["status"][..], &["list"], &["renew", "x.example"], &["events", "-f"]] {
            let told = ended(&command(&socket, arguments).output().unwrap());
            assert_eq!(told, (69, String::new(), line.clone()), "{arguments:?}");
        }
    };
    expect("no such file or directory");
    drop(UnixListener::bind(&socket).unwrap());
    expect("connection refused");
}

#[test]
fn a_daemon_that_does_not_answer_is_given_up() {
    let running = Running::start();
    running.fake.slow.store(true, Ordering::SeqCst);
    let (status, _, err) = running.keyward(&["--timeout", "1", "status"]);
    assert_eq!(status, 69);
    assert!(err.contains("did not answer") && err.contains("within 1 s"), "{err}");
    // Nobody accepts at all.
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let _mute = UnixListener::bind(&socket).unwrap();
    let told = ended(&command(&socket, &["--timeout", "1", "list"]).output().unwrap());
    assert_eq!(told.0, 69, "{told:?}");
}

#[test]
fn those_who_may_not_are_told_so_by_the_mode_and_by_their_credentials() {
    if !nix::unistd::Uid::effective().is_root() {
        // Without root there is no second user to be: the mode alone can be tried.
        let running = Running::start();
        let closed = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(&running.socket, closed).unwrap();
        let (status, _, err) = running.keyward(&["status"]);
        assert_eq!(status, 77, "{err}");
        return;
    }
    let running = Running::start_for(Some("daemon"));
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(running.dir.path(), 0o755);
    let program = running.dir.path().join("keyward");
    std::fs::copy(env!("CARGO_BIN_EXE_keyward"), &program).unwrap();
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid;
    let status_with = |user: &str, group: &str, groups: &str| {
        let mut setpriv = Command::new("setpriv");
        setpriv.args([&format!("--reuid={user}"), &format!("--regid={group}"), groups]);
        setpriv.arg(&program).arg("--socket").arg(&running.socket).arg("status");
        ended(&setpriv.output().unwrap())
    };
    let status_as = |user: &str, group: &str| status_with(user, group, "--clear-groups");
    let (status, _, err) = status_as("65534", "65534");
    assert_eq!(status, 77);
    assert!(err.starts_with("error: you may not use the socket "), "{err}");
    assert!(err.ends_with("try: run as root, or join the group named by [admin] group\n"));
    assert_eq!(status_as("65534", &group.to_string()).0, 0, "a member of the group may");
    // Even when the mode lets everybody through, the credentials do not.
    open(&running.socket, 0o666);
    let (status, out, err) = status_as("65534", "65534");
    assert_eq!((status, out.as_str()), (77, ""));
    assert!(err.contains("user 65534 is neither root"), "{err}");
    // The groups that the process has count, and not those that its user could have.
    assert_eq!(status_as("daemon", "65534").0, 77);
    let groups = format!("--groups={group}");
    assert_eq!(status_with("65534", "65534", &groups).0, 0, "a further group of the process");
}

#[test]
fn a_name_that_is_none_and_one_that_is_not_there() {
    let running = Running::start();
    let told = running.keyward(&["show", "../status"]);
    assert_eq!(told.0, 1);
    assert!(told.2.starts_with("error: \"../status\" is neither a name nor the id"), "{}", told.2);
    let told = running.keyward(&["renew", "other.example"]);
    let expected = "error: no certificate matches \"other.example\"\n  try: keyward list\n";
    assert_eq!(told, (1, String::new(), expected.to_owned()));
}

#[test]
fn renew_orders_and_with_wait_the_exit_status_tells_what_came_of_it() {
    let running = Running::start();
    let (status, out, _) = running.keyward(&["renew", "shop.example"]);
    assert_eq!(status, 0);
    assert!(out.starts_with("the renewal of shop.example was ordered\n"), "{out}");
    let (status, out, err) = running.keyward(&["renew", "shop.example", "--wait"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "only what is about this certificate, and only what is new: {out}");
    assert!(lines[0].contains("requested") && lines[1].ends_with("shop.example: number 6"));
    let (status, out, err) = running.keyward(&["renew", "broken.example", "--wait"]);
    assert_eq!(status, 1);
    assert!(out.contains("halted") && out.ends_with("the CA does not like it\n"), "{out}");
    let expected = "error: broken.example was not renewed\n  try: keyward why broken.example\n";
    assert_eq!(err, expected);
}

#[test]
fn reload_tells_what_changed_or_every_problem() {
    let running = Running::start();
    let same = "the configuration was read again: no site changed\n";
    assert_eq!(running.keyward(&["reload"]), (0, same.to_owned(), String::new()));
    *running.fake.reload.lock().unwrap() = Ok(Reloaded {
        added: vec!["new.example".to_owned()],
        removed: vec!["old.example".to_owned()],
        unchanged: 3,
        notes: vec!["[listen] https needs a restart".to_owned()],
        ..Reloaded::default()
    });
    let expected = "\
the configuration was applied: 1 added, 0 changed, 1 removed, 3 unchanged
+ new.example
- old.example
note: [listen] https needs a restart
";
    assert_eq!(running.keyward(&["reload"]), (0, expected.to_owned(), String::new()));
    *running.fake.reload.lock().unwrap() =
        Err(HouseError::Configuration { report: "a.toml:3: no\na.toml:9: no".to_owned() });
    let expected = "\
error: the configuration was refused and the former one stays in force
  a.toml:3: no
  a.toml:9: no
  try: correct the file, try it with keyward check, and reload again
";
    assert_eq!(running.keyward(&["reload"]), (78, String::new(), expected.to_owned()));
}

#[test]
fn trust_prints_the_root_and_nothing_else() {
    let running = Running::start();
    for arguments in [&["trust"][..], &["trust", "--print"]] {
        let told = running.keyward(arguments);
        assert_eq!(told, (0, running.fake.root.clone(), String::new()));
    }
}

#[test]
fn events_are_listed_one_in_a_line() {
    let running = Running::start();
    running.fake.tell("started", "info", None, "keyward is up");
    running.fake.tell("failed", "warning", Some("aa00000000000001"), "no\n\u{1b}[31mluck");
    let expected = "\
2027-01-15 08:00:01 UTC  info     started          keyward is up
2027-01-15 08:00:02 UTC  warning  failed           shop.example: no  [31mluck
";
    assert_eq!(running.keyward(&["events"]), (0, expected.to_owned(), String::new()));
    let (_, out, _) = running.keyward(&["events", "--after", "1"]);
    assert_eq!(out, expected.lines().nth(1).unwrap().to_owned() + "\n");
    let (_, out, _) = running.keyward(&["events", "--limit", "1"]);
    assert_eq!(out, expected.lines().nth(1).unwrap().to_owned() + "\n");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let running = Running::start();
    for _ in 0..1000 {
        running.fake.tell("ordering", "info", None, &"a long message ".repeat(20));
    }
    let line = format!(
        "set -o pipefail; {} --socket {} events --limit 1000 | head -n 1",
        env!("CARGO_BIN_EXE_keyward"),
        running.socket.display()
    );
    let (status, out, err) = ended(&Command::new("bash").args(["-c", &line]).output().unwrap());
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 1);
}

#[test]
fn a_follower_survives_a_restart_of_the_daemon_and_ends_cleanly_when_interrupted() {
    let mut running = Running::start();
    running.fake.tell("started", "info", None, "one");
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let mut follower = command(&running.socket, &["events", "--follow", "--json"])
        .stdout(std::fs::File::create(&seen).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let wait_for = |text: &str| {
        for _ in 0..200 {
            if std::fs::read_to_string(&seen).unwrap().contains(text) {
                return;
            }
            pause(50);
        }
        panic!("{text} was not seen");
    };
    wait_for("\"one\"");
    running.fake.tell("ordering", "info", None, "two");
    wait_for("\"two\"");
    running.stop();
    running.fake.tell("stopping", "info", None, "three");
    running.serve(None);
    running.fake.tell("started", "info", None, "four");
    wait_for("\"four\"");
    kill(Pid::from_raw(i32::try_from(follower.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    let mut err = String::new();
    std::io::Read::read_to_string(&mut follower.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!(err, "the daemon went away; waiting for it\n");
    let lines = std::fs::read_to_string(&seen).unwrap();
    let entries: Vec<EntryView> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries, running.fake.entries(), "each once, and none left out");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let keyward = |arguments: &[&str]| {
        let told = ended(&command(Path::new("/none"), arguments).output().unwrap());
        assert_eq!((told.0, told.2.as_str()), (0, ""), "{arguments:?}");
        told.1
    };
    keyward(&["man", dir.path().to_str().unwrap()]);
    let manual = std::fs::read_to_string(dir.path().join("keyward.1")).unwrap();
    let scripts: Vec<_> =
        ["bash", "zsh", "fish"].iter().map(|shell| keyward(&["completions", shell])).collect();
    let commands = [
        "run",
        "check",
        "demo",
        "status",
        "list",
        "sites",
        "show",
        "renew",
        "rotate",
        "events",
        "reload",
        "trust",
        "completions",
    ];
    for command in commands {
        let page = dir.path().join(format!("keyward-{command}.1"));
        assert!(std::fs::read_to_string(page).unwrap().contains(".SH SYNOPSIS"), "{command}");
        assert!(manual.contains(&format!("keyward\\-{command}(1)")), "{command}");
        assert!(scripts.iter().all(|script| script.contains(command)), "{command}");
    }
    assert!(manual.contains("69  the daemon does not answer"), "exit statuses are told");
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_not() {
    let run = |arguments: &[&str]| ended(&command(Path::new("/none"), arguments).output().unwrap());
    for wrong in [&[][..], &["bogus"], &["show"], &["--timeout", "x", "status"]] {
        let (status, out, err) = run(wrong);
        assert_eq!((status, out.as_str()), (64, ""), "{wrong:?}");
        assert!(!err.is_empty());
    }
    for right in ["--help", "--version", "help"] {
        let (status, out, err) = run(&[right]);
        assert_eq!((status, err.as_str()), (0, ""), "{right}");
        assert!(out.contains("keyward"));
    }
}

/// A certificate for `shop.example` with its key, in one file.
fn certificate_file(running: &Running) -> std::path::PathBuf {
    let mut params = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let text = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    let path = running.dir.path().join("both.pem");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    path
}

#[test]
fn import_seals_the_key_before_it_sends_it_and_tells_what_is_worth_knowing() {
    let running = Running::start();
    let file = certificate_file(&running);
    let path = file.to_str().unwrap();
    let (status, out, err) = running.keyward(&["import", "--cert", path, "--key", path]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    for word in ["imported ", "note: put right", "note: this machine does not trust", "mode 644"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let (status, _, err) =
        running.keyward(&["import", "other.example", "--cert", path, "--key", path]);
    assert!(status == 1 && err.contains("not for other.example, but for shop.example"), "{err}");
    let (status, _, err) = running.keyward(&["import", "--cert", path, "--key", "/none"]);
    assert!(status == 1 && err.contains("/none"), "{err}");
    let (status, _, _) = running.keyward(&["import", "--cert", path]);
    assert_eq!(status, 64, "the command line is wrong");
}

#[test]
fn an_export_that_is_refused_leaves_no_file_and_one_that_is_not_replaces_none() {
    let running = Running::start();
    let target = running.dir.path().join("out.key");
    let to = target.to_str().unwrap();
    let (status, _, err) = running.keyward(&["export", "broken.example", "--to", to]);
    assert_eq!((status, err.as_str()), (1, "error: it does not leave\n"));
    assert!(!target.exists());
    let (status, _, err) = running.keyward(&["export", "nobody.example", "--to", to]);
    assert!(status == 1 && err.contains("no certificate matches"), "{err}");
    let (status, out, _) = running.keyward(&["export", "shop.example", "--to", to]);
    assert!(status == 0 && out.contains(to), "{out}");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "the key\n");
    let (status, _, err) = running.keyward(&["export", "shop.example", "--to", to]);
    assert!(status == 1 && err.contains("is there already"), "{err}");
    let (status, out, _) = running.keyward(&["export", "shop.example", "--to", "-"]);
    assert_eq!((status, out.as_str()), (0, "the key\n"));
    let left = std::fs::read_dir(running.dir.path()).unwrap().count();
    assert_eq!(left, 2, "the socket, the key, and nothing beside");
}
