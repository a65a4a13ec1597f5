//! What a bad configuration is told, word for word, and what a good one becomes.
//!
//! The refusals stand in `tests/config/refusals.txt`: configuration, then all that is printed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use keyward::base::bounds;
use keyward::cert::challenge::ChallengeType;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::spec::IssuerName;
use keyward::cli::check;
use keyward::config;
use keyward::config::{
    Address, Asking, Health, Hsts, Loaded, MasterKey, Origin, OriginHttp, OriginTls, Problem,
    Problems, ProxyVersion, Server, Servers,
};

const REFUSALS: &str = include_str!("config/refusals.txt");
const NO_ENV: [(&str, &str); 0] = [];

/// The three lines that a site takes.
const SITE: &str = "[[site]]\nnames = [\"nas.internal\"]\norigin = \"http://127.0.0.1:8080\"\n";

/// The same for a public name.
const PUBLIC: &str = "[acme]\naccept_terms = true\n\n[[site]]\nnames = [\"example.org\"]\n\
                      origin = \"http://127.0.0.1:8080\"\n";

fn parse(text: &str) -> Result<Loaded, Problems> {
    config::parse(text, Path::new("keyward.toml"), NO_ENV)
}

fn with_env(text: &str, env: &[(&str, &str)]) -> Result<Loaded, Problems> {
    config::parse(text, Path::new("keyward.toml"), env.iter().copied())
}

#[track_caller]
fn refused(result: Result<Loaded, Problems>, expected: &str) {
    assert_eq!(result.unwrap_err().to_string(), expected);
}

fn shown(warnings: &[Problem]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_word_for_the_walls_that_nobody_knows_is_refused_with_the_two_that_there_are() {
    let text = format!("[vault]\nrequire = \"strickt\"\n{SITE}");
    let problems = config::parse(&text, Path::new("keyward.toml"), [("", ""); 0]).unwrap_err();
    let told = problems.to_string();
    for part in ["keyward.toml:2", "\"strickt\"", "\"available\" or \"strict\"", "try: \"strict\""]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn every_refusal_is_word_for_word_what_was_promised() {
    let mut cases = 0;
    for case in REFUSALS.split("\n=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("\n---\n").unwrap();
        let Err(problems) = parse(text) else { panic!("{title}: not refused") };
        assert_eq!(problems.to_string(), expected.trim_end(), "{title}");
        cases += 1;
    }
    assert!(cases >= 47, "{cases}");
}

#[test]
fn a_second_ca_stands_by_for_sites_and_services_and_check_says_so() {
    let text = "[acme]\naccept_terms = true\n[[ca]]\nname = 'zerossl'\naccept_terms = true\n\
                [[site]]\nnames = ['example.org']\norigin = 'http://127.0.0.1:1'\n\
                key = ['p256', 'rsa2048']\nstandby = 'zerossl'\npreferred_chain = 'Some Root'\n\
                [[tcp]]\nnames = ['mail.example.org']\nlisten = ['[::]:993']\n\
                to = '127.0.0.1:143'\nstandby = 'zerossl'\n";
    let config = parse(text).unwrap().config;
    let zerossl = IssuerName::Acme("https://acme.zerossl.com/v2/DV90".to_owned());
    for site in &config.sites {
        assert_eq!(site.standby.as_ref(), Some(&zerossl));
        assert_eq!(site.all_issuers().count(), 2);
    }
    let site = &config.sites[0];
    assert_eq!(config.preferred_chain(site, &site.issuer).as_deref(), Some("Some Root"));
    assert_eq!(config.preferred_chain(site, &zerossl), None, "a word of the first CA");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keyward.toml");
    fs::write(&file, text).unwrap();
    let program = env!("CARGO_BIN_EXE_keyward");
    let said = std::process::Command::new(program).arg("check").arg(&file).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with("ok: 1 site, 1 service, 2 issuers"), "{said}");
    let told = "a second one of acme.zerossl.com standing by, key p256, and another for rsa2048, up to Some Root";
    assert!(said.contains(told), "{said}");
    // Nobody issues whose terms are not accepted.
    let text = text.replacen("name = 'zerossl'\naccept_terms = true", "name = 'zerossl'", 1);
    let problems = parse(&text).unwrap_err().to_string();
    assert!(problems.contains("the terms of acme.zerossl.com are not accepted"), "{problems}");
}

#[test]
fn what_follows_an_imported_certificate_may_come_from_several_cas() {
    let text = |list: &str| {
        format!(
            "[acme]\naccept_terms = true\n[[ca]]\nname = 'zerossl'\naccept_terms = true\n\
             [[site]]\nnames = ['example.org']\norigin = 'http://127.0.0.1:1'\nissuer = {list}\n"
        )
    };
    let config = parse(&text("['imported', 'acme', 'zerossl']")).unwrap().config;
    let site = &config.sites[0];
    assert_eq!((&site.issuer, site.further.len()), (&IssuerName::Imported, 2));
    let problems = parse(&text("['acme', 'imported']")).unwrap_err().to_string();
    let expected = "this word before the CAs whose certificate follows an imported one, or alone";
    assert!(problems.contains(expected), "{problems}");
}

#[test]
fn no_message_repeats_a_password() {
    for text in [
        "[[site]]\nnames = [\"a.internal\"]\norigin = \"http://user:hunter2@127.0.0.1:1\"",
        "[[site]]\nnames = [\"a.internal\"]\norigin = \"user:hunter2@127.0.0.1:1\"",
        "[[site]]\nnames = [\"a.internal\"]\norigin = \"//user:hunter2@\"",
        "[[site]]\nnames = [\"a.internal\"]\norigin = [\"http://user:hunter2@127.0.0.1:1\"]",
        "[acme]\ndirectory = \"https://user:hunter2@ca.example/\"",
        "[acme]\nkid = \"hunter2\"\ncontact = \"mailto:hunter2@example.org\"",
        "[vault]\nmaster_key = \"hunter2\"",
    ] {
        let problems = parse(text).unwrap_err();
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
        assert!(!problems.errors.iter().any(|p| p.one_line().contains("hunter2")), "{problems}");
    }
    let problems = with_env("", &[("KEYWARD_ACME__EAB__HMAC_KEY", "hunter2")]).unwrap_err();
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
}

#[test]
fn three_lines_make_a_site() {
    let Loaded { config, warnings } = parse(SITE).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.sites.len(), 1);
    let site = &config.sites[0];
    assert_eq!(site.name(), &Identifier::parse("nas.internal").unwrap());
    assert_eq!(site.origin, Origin::http("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(site.issuer, IssuerName::Internal);
    assert_eq!(site.key, KeyAlgorithm::P256);
    assert_eq!(site.hsts, None, "internal names get no HSTS by themselves");
    assert_eq!((site.redirect, site.default, site.preserve_host), (true, false, true));
    assert!(!site.reuse_key && !site.exportable);
    assert_eq!(site.line, 1);
}

#[test]
fn an_origin_may_be_a_socket_unless_the_service_would_not_see_it() {
    let behind = |path: &str| parse(&SITE.replace("http://127.0.0.1:8080", path)).unwrap();
    let Loaded { config, warnings } = behind("unix:/run/app/web.sock");
    let socket = Origin::several([Address::Unix("/run/app/web.sock".into())]);
    assert_eq!((&config.sites[0].origin, warnings.as_slice()), (&socket, [].as_slice()));
    assert_eq!(socket.to_string(), "unix:/run/app/web.sock");
    let seen = shown(&behind("unix:/tmp/web.sock").warnings);
    assert!(seen[0].contains("the service does not see the sockets below /tmp"), "{seen:?}");
    assert_eq!(behind("unix:/tmpfiles/web.sock").warnings, []);
}

#[test]
fn origins_may_be_several_with_weights_and_ways_to_ask_them() {
    let list = "[\"http://10.0.0.1\", \"unix:/run/app.sock weight=3\"]\n[site.origins]\n\
                max_requests = 100\nretries = 0\neject_after = 1\neject_for = \"1m\"\n\
                eject_on_errors = true\nhttp = \"2\"\nslow_start = \"30s\"\nproxy = \"v2\"";
    let text = SITE.replace("\"http://127.0.0.1:8080\"", list);
    let Loaded { config, warnings } = parse(&text).unwrap();
    assert_eq!(warnings, []);
    let server = |address, weight| Server { address, weight };
    let servers = Servers {
        list: vec![
            server(Address::Http("10.0.0.1:80".parse().unwrap()), 1),
            server(Address::Unix("/run/app.sock".into()), 3),
        ],
        asking: Asking {
            max_requests: 100,
            retries: 0,
            eject_after: 1,
            eject_for: Duration::from_secs(60),
            eject_on_errors: true,
            http: OriginHttp::Two,
            slow_start: Duration::from_secs(30),
            proxy: Some(ProxyVersion::V2),
        },
        tls: OriginTls::default(),
        health: None,
        sticky: None,
    };
    assert_eq!(config.sites[0].origin, Origin::Servers(servers));
    let told = config.sites[0].origin.to_string();
    assert_eq!(told, "http://10.0.0.1:80, unix:/run/app.sock weight=3");
}

#[test]
fn an_origin_may_speak_http_2_without_tls() {
    let behind = |origin: &str| {
        let loaded = parse(&SITE.replace("http://127.0.0.1:8080", origin)).unwrap();
        assert_eq!(loaded.warnings, []);
        loaded.config.sites[0].origin.clone()
    };
    for (text, authority) in [
        ("h2c://10.0.0.1:50051", "10.0.0.1:50051"),
        ("h2c://calls.example", "calls.example:80"),
        ("h2c://[::1]:50051/", "[::1]:50051"),
    ] {
        let expected = Origin::several([Address::H2c(authority.parse().unwrap())]);
        assert_eq!(behind(text), expected);
        assert_eq!(expected.to_string(), format!("h2c://{authority}"));
    }
}

#[test]
fn servers_are_checked_and_stuck_to_as_the_file_says() {
    let read = |more: &str| {
        let list = "[\"http://10.0.0.1\", \"http://10.0.0.2\"]\n[site.origins]\n";
        let text = SITE.replace("\"http://127.0.0.1:8080\"", list) + more;
        let Loaded { config, warnings } = parse(&text).unwrap();
        let Origin::Servers(servers) = &config.sites[0].origin else { panic!("no servers") };
        (servers.health.clone(), servers.sticky.clone(), shown(&warnings))
    };
    assert_eq!(read(""), (None, None, Vec::new()));
    let (health, sticky, warnings) = read("sticky = \"to\"\n[site.origins.health]\n");
    assert_eq!((health, sticky.as_deref()), (Some(Health::at("/")), Some("to")));
    assert_eq!(warnings, Vec::<String>::new());
    let (health, _, warnings) = read(
        "health = { path = \"/well?a=b\", interval = \"1s\", timeout = \"3s\", status = \"204\", \
         host = \"app.example:81\", rise = 1, fall = 9 }\n",
    );
    let expected = Health {
        path: "/well?a=b".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        status: 204..=204,
        host: Some("app.example:81".to_owned()),
        rise: 1,
        fall: 9,
    };
    assert_eq!(health, Some(expected));
    assert!(warnings[0].contains("longer than the time to the next one"), "{warnings:?}");
}

#[test]
fn name_servers_have_a_port_if_need_be() {
    let text = "[edge]\nname_servers = [\"192.0.2.53\", \"[2001:db8::53]:5353\", \"::1\"]\n";
    let loaded = parse(&(SITE.to_owned() + text)).unwrap();
    let told: Vec<_> = loaded.config.edge.name_servers.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["192.0.2.53:53", "[2001:db8::53]:5353", "[::1]:53"]);
}

#[test]
fn an_https_origin_is_checked_unless_somebody_says_otherwise() {
    let behind = |origin: &str, more: &str| {
        let text = SITE.replace("http://127.0.0.1:8080", origin);
        let Loaded { config, warnings } = parse(&(text + "[site.origins]\n" + more)).unwrap();
        let Origin::Servers(servers) = &config.sites[0].origin else { panic!("no servers") };
        (servers.list[0].address.clone(), servers.tls.clone(), shown(&warnings))
    };
    let (address, tls, warnings) = behind("https://backend.example", "");
    assert_eq!(address, Address::Https("backend.example:443".parse().unwrap()));
    assert_eq!(tls, OriginTls { ca: None, name: None, verify: true, certificate: None });
    assert_eq!(warnings, Vec::<String>::new());
    let (_, tls, warnings) = behind("https://10.0.0.1", "tls_name = \"backend.example\"");
    assert_eq!((tls.name.as_deref(), warnings.len()), (Some("backend.example"), 0));
    let (_, tls, warnings) = behind("https://10.0.0.1", "tls_verify = false");
    assert!(!tls.verify && warnings[0].contains("whoever is on the way"), "{warnings:?}");
    let (_, tls, warnings) = behind("https://10.0.0.1", "tls_certificate = \"Proxy.Example\"");
    assert_eq!(tls.certificate.as_deref(), Some(&Identifier::parse("proxy.example").unwrap()));
    assert_eq!(warnings, Vec::<String>::new());
    let (_, _, warnings) = behind("http://10.0.0.1", "tls_certificate = \"proxy.example\"");
    assert!(warnings[0].contains("no origin of the site speaks TLS"), "{warnings:?}");
    let (_, _, warnings) = behind("http://10.0.0.1", "tls_name = \"backend.example\"");
    assert!(warnings[0].contains("no origin of the site speaks TLS"), "{warnings:?}");
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse(PUBLIC).unwrap().config;
    let directory = "https://acme-v02.api.letsencrypt.org/directory";
    assert_eq!(config.acme.directory, directory);
    assert_eq!(config.acme.challenges, [ChallengeType::TlsAlpn01, ChallengeType::Http01]);
    assert!(config.acme.renewal_info);
    assert_eq!(config.listen.https, ["[::]:443".parse().unwrap()]);
    assert_eq!(config.listen.http, ["[::]:80".parse().unwrap()]);
    assert_eq!(config.state.dir, Path::new("/var/lib/keyward"));
    assert_eq!(config.admin.socket, Path::new("/run/keyward/admin.sock"));
    assert_eq!(config.vault.master_key, MasterKey::Auto);
    assert_eq!(config.vault.cache, 64 * 1024 * 1024);
    assert!(config.edge.workers >= 1);
    assert_eq!(config.edge.handshake_timeout, Duration::from_secs(10));
    assert_eq!(config.edge.max_connections, 10_000);
    assert_eq!((config.edge.network_share, config.edge.handshake_share), (75, 80));
    assert!(config.edge.http3);
    let site = &config.sites[0];
    assert_eq!(site.issuer, IssuerName::Acme(directory.to_owned()));
    let hsts = Hsts { max_age: 63_072_000, include_subdomains: false, preload: false };
    assert_eq!(site.hsts, Some(hsts));
}

#[expect(clippy::too_many_lines, reason = "a list of all keys")]
#[test]
fn every_key_is_taken_up() {
    let text = "
        [acme]
        directory = 'https://ca.example/dir'
        contact = ['mailto:ops@example.org']
        accept_terms = true
        challenges = ['http-01']
        profile = 'tlsserver'
        renewal_info = false
        [listen]
        https = ['127.0.0.1:8443', '[::1]:8443']
        http = []
        [state]
        dir = '/srv/keyward'
        [admin]
        socket = '/srv/keyward/admin.sock'
        group = 'ops'
        [vault]
        cache = '1GiB'
        [edge]
        workers = 3
        handshake_timeout = '1s'
        header_timeout = '2s'
        idle_timeout = '3s'
        connect_timeout = '400ms'
        response_timeout = '5m'
        body_timeout = '1h'
        origin_idle = 7
        max_connections = 8
        network_share = 100
        handshake_share = 1
        drain_timeout = '9s'
        http3 = false
        linger_timeout = '8s'
        [log]
        level = 'warn,keyward::edge=debug'
        format = 'text'
        [[site]]
        names = ['Bücher.example', '*.shop.internal', '[2001:db8::7]']
        origin = 'http://[::1]:9000/'
        issuer = 'internal'
        key = 'rsa2048'
        profile = 'shortlived'
        hsts = false
        redirect = false
        default = true
        preserve_host = false
        [[site]]
        names = ['b.internal']
        origin = 'http://Backend:80'
        hsts = { max_age = 31536000, include_subdomains = true, preload = true }
        [[site]]
        names = ['c.internal']
        origin = 'builtin:welcome'
        key = 'p384'
        reuse_key = true
        exportable = true
    ";
    let config = parse(text).unwrap().config;
    assert_eq!(config.acme.directory, "https://ca.example/dir");
    assert_eq!(config.acme.contact, ["mailto:ops@example.org"]);
    assert_eq!(config.acme.challenges, [ChallengeType::Http01]);
    assert_eq!(config.acme.profile.as_deref(), Some("tlsserver"));
    assert!(config.acme.accept_terms && !config.acme.renewal_info);
    assert_eq!(config.listen.https.len(), 2);
    assert_eq!(config.listen.http, []);
    assert_eq!(config.admin.group.as_deref(), Some("ops"));
    assert_eq!(config.vault.cache, 1 << 30);
    let edge = &config.edge;
    assert_eq!((edge.workers, edge.origin_idle, edge.max_connections), (3, 7, 8));
    assert_eq!((edge.network_share, edge.handshake_share), (100, 1));
    assert!(!edge.http3);
    let seconds = |duration: Duration| duration.as_secs_f64();
    assert_eq!(seconds(edge.handshake_timeout), 1.0);
    assert_eq!(seconds(edge.header_timeout), 2.0);
    assert_eq!(seconds(edge.idle_timeout), 3.0);
    assert_eq!(seconds(edge.connect_timeout), 0.4);
    assert_eq!(seconds(edge.response_timeout), 300.0);
    assert_eq!(seconds(edge.body_timeout), 3600.0);
    assert_eq!(seconds(edge.drain_timeout), 9.0);
    assert_eq!(seconds(edge.linger_timeout), 8.0);
    assert_eq!(config.log.level, "warn,keyward::edge=debug");
    let [first, second, third] = config.sites.as_slice() else { panic!() };
    let names: Vec<String> = first.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["xn--bcher-kva.example", "*.shop.internal", "2001:db8::7"]);
    assert_eq!(first.origin, Origin::http("[::1]:9000".parse().unwrap()));
    assert_eq!((first.issuer.clone(), first.key), (IssuerName::Internal, KeyAlgorithm::Rsa2048));
    assert_eq!((first.redirect, first.default, first.preserve_host), (false, true, false));
    assert_eq!((first.hsts, first.profile.as_deref()), (None, Some("shortlived")));
    assert_eq!(second.origin, Origin::http("backend:80".parse().unwrap()));
    let hsts = Hsts { max_age: 31_536_000, include_subdomains: true, preload: true };
    assert_eq!(second.hsts, Some(hsts));
    assert!(third.reuse_key && !second.reuse_key);
    assert!(third.exportable && !second.exportable);
    assert_eq!((&third.origin, third.key), (&Origin::Welcome, KeyAlgorithm::P384));
}

#[test]
fn files_that_are_named_and_are_there_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["root.pem", "eab.key", "master.key"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let at = dir.path().display();
    let text = format!(
        "[acme]\nca_root = '{at}/root.pem'\naccept_terms = true\n\
         eab = {{ kid = 'k', hmac_key_file = '{at}/eab.key' }}\n\
         [vault]\nmaster_key = '{at}/master.key'\n\
         [[site]]\nissuer = 'acme'\nnames = ['nas.internal', 'example.org']\n\
         origin = 'http://127.0.0.1:1'\n"
    );
    let config = parse(&text).unwrap().config;
    assert_eq!(config.acme.ca_root, Some(dir.path().join("root.pem")));
    assert_eq!(config.acme.eab.unwrap().hmac_key_file, dir.path().join("eab.key"));
    assert_eq!(config.vault.master_key, MasterKey::File(dir.path().join("master.key")));
    // A directory with a root of its own is a private CA: it may sign internal names.
    assert!(matches!(config.sites[0].issuer, IssuerName::Acme(_)));
}

#[test]
fn a_certificate_holds_only_so_many_names() {
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("\"n{n}.internal\"")).collect();
        format!("[[site]]\nnames = [{}]\norigin = \"http://127.0.0.1:1\"\n", names.join(", "))
    };
    assert!(parse(&names(bounds::NAMES_PER_CERTIFICATE)).is_ok());
    refused(
        parse(&names(bounds::NAMES_PER_CERTIFICATE + 1)),
        "error: the site has 101 names\n  \
         --> keyward.toml:2:9, [[site]] number 1, key `names`\n  \
         expected: at most 100 in one certificate\n  \
         try: split the site into several with the same origin",
    );
}

#[test]
fn what_is_odd_but_usable_is_a_warning() {
    for (text, expected) in [
        (
            "[log]\nlevel = \"info\"\n".to_owned(),
            "warning: there are no sites, so nothing will be served\n  \
             --> keyward.toml:1:1\n  \
             try: add a [[site]] with `names` and `origin`",
        ),
        (
            format!("{SITE}hsts = true\n"),
            "warning: browsers without the internal root shut out a host whose HSTS they have \
             seen\n  --> keyward.toml:4:8, [[site]] number 1, key `hsts`\n  \
             try: leave hsts out for sites of the internal CA",
        ),
        (
            PUBLIC.replace("example.org", "8.8.8.8"),
            "warning: Let's Encrypt signs 8.8.8.8 under one profile only\n  \
             --> keyward.toml:5:10, [[site]] number 1, key `names`, item 1\n  \
             try: profile = \"shortlived\"",
        ),
        (
            format!("[listen]\nhttps = [\"127.0.0.1:0\"]\n{SITE}"),
            "warning: port 0 lets the system choose a port at every start\n  \
             --> keyward.toml:2:10, [listen], key `https`, item 1",
        ),
    ] {
        assert_eq!(shown(&parse(&text).unwrap().warnings), [expected]);
    }
    let short = format!("{}profile = \"shortlived\"\n", PUBLIC.replace("example.org", "8.8.8.8"));
    assert_eq!(parse(&short).unwrap().warnings, []);
}

#[test]
fn the_environment_wins_over_the_file() {
    let env = [
        ("PATH", "/bin"),
        ("KEYWARD_CONFIG", "/etc/other.toml"),
        ("KEYWARD_CRASH_AT", "leased"),
        ("KEYWARD_ACME__DIRECTORY", "https://ca.example/dir"),
        ("KEYWARD_ACME__CONTACT", "mailto:a@example.org, mailto:b@example.org"),
        ("KEYWARD_ACME__RENEWAL_INFO", "false"),
        ("KEYWARD_LISTEN__HTTPS", "[::1]:8443"),
        ("KEYWARD_LISTEN__HTTP", "[\"[::1]:8081\", \"127.0.0.1:8081\"]"),
        ("KEYWARD_EDGE__WORKERS", "2"),
    ];
    let text = format!("[edge]\nidle_timeout = \"7s\"\nworkers = 1\n{PUBLIC}");
    let Loaded { config, warnings } = with_env(&text, &env).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.acme.directory, "https://ca.example/dir");
    assert_eq!(config.acme.contact, ["mailto:a@example.org", "mailto:b@example.org"]);
    assert!(!config.acme.renewal_info && config.acme.accept_terms);
    assert_eq!(config.listen.https, ["[::1]:8443".parse().unwrap()]);
    assert_eq!(config.listen.http.len(), 2);
    assert_eq!((config.edge.workers, config.edge.idle_timeout.as_secs()), (2, 7));
}

#[test]
fn a_bad_variable_is_named() {
    for (name, value, expected) in [
        (
            "KEYWARD_ACME__DIRECTROY",
            "x",
            "error: there is no such key\n  \
             --> environment variable KEYWARD_ACME__DIRECTROY\n  \
             try: KEYWARD_ACME__DIRECTORY",
        ),
        (
            "KEYWARD_ACEM__DIRECTORY",
            "x",
            "error: there is no such key\n  \
             --> environment variable KEYWARD_ACEM__DIRECTORY\n  \
             try: KEYWARD_ACME__DIRECTORY",
        ),
        (
            "KEYWARD_ACME_EAB__KID",
            "x",
            "error: there is no such key\n  \
             --> environment variable KEYWARD_ACME_EAB__KID\n  \
             try: KEYWARD_ACME__EAB__KID",
        ),
        (
            "KEYWARD_ACME_ACCEPT_TERMS",
            "true",
            "error: a section and its key need two underscores\n  \
             --> environment variable KEYWARD_ACME_ACCEPT_TERMS\n  \
             try: KEYWARD_ACME__ACCEPT_TERMS",
        ),
        (
            "KEYWARD_SITE__NAMES",
            "a.internal",
            "error: sites cannot be given in the environment\n  \
             --> environment variable KEYWARD_SITE__NAMES\n  \
             try: write them into the file",
        ),
        (
            "KEYWARD_EDGE__WORKERS",
            "many",
            "error: the value is not a whole number\n  \
             --> environment variable KEYWARD_EDGE__WORKERS, [edge], key `workers`\n  \
             expected: a whole number",
        ),
        (
            "KEYWARD_LISTEN__HTTPS",
            "[::]:443, 443",
            "error: \"443\" is no address to listen on\n  \
             --> environment variable KEYWARD_LISTEN__HTTPS, [listen], key `https`, item 2\n  \
             expected: an IP address and a port, such as \"[::]:443\" or \"192.0.2.7:443\"\n  \
             try: \"[::]:443\"",
        ),
    ] {
        refused(with_env(SITE, &[(name, value)]), expected);
    }
    let loaded = with_env(SITE, &[("KEYWARD_PORT_80_TCP", "x")]).unwrap();
    assert_eq!(
        shown(&loaded.warnings),
        ["warning: the variable is not known and has no effect\n  \
          --> environment variable KEYWARD_PORT_80_TCP"]
    );
}

#[test]
fn problems_of_the_environment_follow_those_of_the_file() {
    let problems = with_env("[edge]\nworker = 1\n", &[("KEYWARD_LOG__LEVEL", "loud")]).unwrap_err();
    let keys: Vec<String> = problems.errors.iter().map(|p| p.key.to_string()).collect();
    assert_eq!(keys, ["edge.worker", "log.level"]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str| config::load(&dir.path().join(name), NO_ENV).unwrap_err().to_string();
    let at = dir.path().display();
    assert_eq!(
        load("absent.toml"),
        format!(
            "error: there is no such file\n  --> {at}/absent.toml\n  \
             try: name the file, or begin with config/minimal.toml"
        )
    );
    fs::create_dir(dir.path().join("sub")).unwrap();
    assert_eq!(
        load("sub"),
        format!("error: this is a directory\n  --> {at}/sub\n  try: {at}/sub/keyward.toml")
    );
    fs::write(dir.path().join("latin1.toml"), b"# fine\n# caf\xe9\n").unwrap();
    assert_eq!(
        load("latin1.toml"),
        format!(
            "error: the file is not UTF-8 from line 2 on\n  --> {at}/latin1.toml\n  \
             try: save it as UTF-8"
        )
    );
    let long = fs::File::create(dir.path().join("long.toml")).unwrap();
    long.set_len(bounds::CONFIG_BYTES + 1).unwrap();
    assert_eq!(
        load("long.toml"),
        format!(
            "error: the file is longer than 64 MiB\n  --> {at}/long.toml\n  \
             try: look whether this is the right file"
        )
    );
    // A pipe without a writer must not hold up anybody.
    nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(
        load("pipe"),
        format!("error: this is no regular file\n  --> {at}/pipe\n  try: write it to a file")
    );
    if !nix::unistd::geteuid().is_root() {
        let secret = dir.path().join("secret.toml");
        fs::write(&secret, SITE).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o0)).unwrap();
        assert!(load("secret.toml").starts_with("error: the file may not be read by this user"));
    }
}

fn check(text: &str, json: bool) -> (u8, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyward.toml");
    fs::write(&path, text).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = check::run(&path, NO_ENV, json, &mut out, &mut err);
    let place = format!("{}/", dir.path().display());
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&place, "");
    (status, text(out), text(err))
}

#[test]
fn check_says_what_will_be_done() {
    let text = format!("{PUBLIC}\n{SITE}default = true\n");
    let (status, out, err) = check(&text, false);
    assert_eq!((status, err.as_str()), (0, ""));
    let expected = "\
ok: 2 sites, 2 issuers

example.org
  certificate  from acme-v02.api.letsencrypt.org by tls-alpn-01 or http-01, key p256
  origin       http://127.0.0.1:8080
  plain http   redirected to https
  tls          default: 1.2 and 1.3
  hsts         max-age 63072000 s

nas.internal (default site)
  certificate  from the internal CA, key p256
  origin       http://127.0.0.1:8080
  plain http   redirected to https
  tls          default: 1.2 and 1.3
  hsts         not sent
";
    assert_eq!(out, expected);
}

#[test]
fn check_says_what_sites_and_routes_ask_for() {
    let text = format!(
        "{SITE}deny = ['10.0.0.66']\nrate = '90/m'\nburst = 5\nmaintenance = '/run/closed'\n\
         [[site.route]]\npath = '/api/*'\nmethods = ['GET', 'PUT']\nfield = 'X-Key: abc'\n\
         origin = 'http://127.0.0.1:9000'\nrewrite = '/*'\nrate = 'off'\ncompress = true\n\
         [[site.route]]\npath = '/files/*'\nroot = '/usr'\nallow = ['::1', '10.0.0.0/8']\n\
         maintenance = 'off'\ndeny = []\nrate = 'off'\nmax_body = '1KiB'\n\
         [[site.route]]\npath = '/*/old'\nredirect = '/new'\n"
    );
    let (status, out, err) = check(&text, false);
    assert_eq!((status, err.as_str()), (0, ""));
    let expected = "
  asks         nobody from 10.0.0.66/32
  asks         closed while /run/closed is there
  asks         2 requests in a second, 5 at once for each client network
  route        /api/* (GET, PUT) with x-key to http://127.0.0.1:9000 under /*; asks: nobody from \
10.0.0.66/32; closed while /run/closed is there; compressed
  route        /files/* to files:/usr; asks: only from ::1/128, 10.0.0.0/8; bodies up to 1024 bytes
  route        /*/old elsewhere (308): /new
";
    assert!(out.contains(expected) && !out.contains("abc"), "{out}");
}

#[test]
fn check_prints_all_problems_and_ends_with_78() {
    let (status, out, err) = check("[state]\ndir = \"x\"\ndri = 1\n", false);
    assert_eq!((status, out.as_str()), (78, ""));
    let expected = "\
error: the path \"x\" is not absolute
  --> keyward.toml:2:7, [state], key `dir`
  expected: a path that begins with /, because the daemon is started anywhere

error: the key \"dri\" is not known here
  --> keyward.toml:3:1, [state], key `dri`
  expected: one of dir
  try: dir

warning: there are no sites, so nothing will be served
  --> keyward.toml:1:1
  try: add a [[site]] with `names` and `origin`

2 problems; the configuration cannot be used
";
    assert_eq!(err, expected);
}

/// A public site with the lines that follow.
fn public(lines: &str) -> String {
    format!("{PUBLIC}\n{lines}")
}

#[test]
fn check_says_what_is_given_up() {
    for (lines, loss) in [
        ("hsts = false", Some("SSL Labs' A+ (A at best) and Mozilla's guidelines: HSTS for less")),
        ("hsts = { max_age = 15551999 }", Some("SSL Labs' A+ (A at best)")),
        ("hsts = { max_age = 15552000 }", Some("Mozilla's guidelines: HSTS for less than two")),
        ("hsts = { max_age = 63071999 }", Some("Mozilla's guidelines: HSTS for less than two")),
        ("hsts = { max_age = 63072000 }", None),
        ("hsts = true", None),
        ("tls = { preset = 'modern' }", Some("clients without TLS 1.3: WeChat mini programs")),
        ("tls = { min_version = '1.3' }", Some("clients without TLS 1.3")),
        ("tls = { preset = 'compatible' }", Some("post-quantum key exchange with clients")),
        ("tls = { preset = 'default' }", None),
        ("", None),
    ] {
        let (status, out, err) = check(&public(lines), false);
        assert_eq!((status, err.as_str()), (0, ""), "{lines}");
        let given_up: Vec<&str> =
            out.lines().filter_map(|line| line.strip_prefix("  gives up     ")).collect();
        match loss {
            Some(loss) => assert!(given_up.len() == 1 && given_up[0].starts_with(loss), "{out}"),
            None => assert_eq!(given_up, Vec::<&str>::new(), "{lines}"),
        }
    }
    let (_, out, _) = check(&public("hsts = false"), true);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(report["sites"][0]["gives_up"][0].as_str().unwrap().starts_with("SSL Labs' A+"));
    // No grader trusts the internal CA.
    let (_, out, _) = check(&format!("{SITE}hsts = false\n"), false);
    assert!(!out.contains("gives up"), "{out}");
}

#[test]
fn a_site_agrees_on_its_own_preset_or_on_that_of_all() {
    let agreed = |general: &str, lines: &str| {
        let text = format!("[tls]\n{general}\n{}", public(lines));
        let tls = parse(&text).unwrap().config.sites[0].tls;
        (tls.preset, tls.min_version)
    };
    use keyward::config::Preset::{Compatible, Default, Modern};
    use keyward::config::TlsVersion::{Tls12, Tls13};
    for (general, lines, expected) in [
        ("", "", (Default, Tls12)),
        ("preset = 'modern'", "", (Modern, Tls13)),
        ("preset = 'compatible'", "", (Compatible, Tls12)),
        ("min_version = '1.3'", "", (Default, Tls13)),
        ("", "tls = { preset = 'modern' }", (Modern, Tls13)),
        ("", "tls = { min_version = '1.3' }", (Default, Tls13)),
        ("preset = 'modern'", "tls = { preset = 'compatible' }", (Compatible, Tls12)),
        ("min_version = '1.3'", "tls = { preset = 'compatible' }", (Compatible, Tls13)),
        ("min_version = '1.3'", "tls = { min_version = '1.2' }", (Default, Tls12)),
        ("min_version = '1.2'", "tls = { preset = 'modern' }", (Modern, Tls13)),
    ] {
        assert_eq!(agreed(general, lines), expected, "{general} {lines}");
    }
    for (general, lines, problem) in [
        (
            "preset = 'old'",
            "",
            "keyward.toml:2:10: the preset \"old\" is not known; expected: one of",
        ),
        ("min_version = '1.1'", "", "TLS 1.1 is not spoken here"),
        ("preset = 'modern'\nmin_version = '1.2'", "", "the preset \"modern\" is TLS 1.3 alone"),
        (
            "",
            "tls = { preset = 'modern', min_version = '1.2' }",
            "the preset \"modern\" is TLS 1.3",
        ),
        ("preset = 'modern'", "tls = { min_version = '1.2' }", "the preset \"modern\" is TLS 1.3"),
        ("unknown_names = 'no'", "", "the answer to unknown names \"no\" is not known"),
    ] {
        let text = format!("[tls]\n{general}\n{}", public(lines));
        let problems = parse(&text).unwrap_err().errors;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].one_line().contains(problem), "{}", problems[0].one_line());
    }
}

#[test]
fn files_for_client_certificates_are_looked_into() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let (good, bad) = (file("ca.pem", &ca.pem()), file("bad.pem", "nothing"));
    let tls = |lines: &str| parse(&public(&format!("[site.tls]\n{lines}")));
    let loaded = tls(&format!("client_certificates = 'optional'\nclient_ca = '{good}'")).unwrap();
    let clients = loaded.config.sites[0].clients.clone().unwrap();
    assert_eq!((clients.required, clients.crl), (false, None));
    assert_eq!(clients.ca.display().to_string(), good);
    assert_eq!(tls("client_certificates = 'off'").unwrap().config.sites[0].clients, None);
    for (lines, problem) in [
        ("client_certificates = 'yes'".to_owned(), "\"yes\" is not known; expected: one of off"),
        ("client_certificates = 'required'".to_owned(), "no CA is named whose certificates"),
        (format!("client_ca = '{good}'"), "nobody is asked for a certificate"),
        (
            format!("client_certificates = 'required'\nclient_ca = '{bad}'"),
            "bad.pem holds no certificate in PEM; expected: certificates of CAs in PEM",
        ),
        (
            format!("client_certificates = 'required'\nclient_ca = '{good}'\nclient_crl = '{bad}'"),
            "bad.pem holds no certificate revocation list",
        ),
        (
            "client_certificates = 'required'\nclient_ca = '/nonexistent/x'".to_owned(),
            "there is no file \"/nonexistent/x\"",
        ),
    ] {
        let problems = tls(&lines).unwrap_err().errors;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].one_line().contains(problem), "{}", problems[0].one_line());
    }
    let early = format!(
        "early_data = true\n[site.tls]\nclient_certificates = 'required'\nclient_ca = '{good}'"
    );
    let problems = parse(&public(&early)).unwrap_err().errors;
    assert!(problems[0].problem.contains("has proven nothing yet"), "{problems:?}");
}

#[test]
fn a_list_of_revoked_clients_may_be_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    fs::write(&path, ca.pem()).unwrap();
    let read = |url: &str| {
        let tls = format!(
            "[site.tls]\nclient_certificates = 'required'\nclient_ca = {path:?}\n\
             client_crl = '{url}'\n"
        );
        parse(&public(&tls)).map(|loaded| loaded.config.sites[0].clients.clone().unwrap())
    };
    let (one, two) =
        (read("http://ca.example/a.crl").unwrap(), read("https://ca.example/a.crl").unwrap());
    assert_eq!(one.crl_url.as_deref(), Some("http://ca.example/a.crl"));
    // Each has a file of its own, where main may write.
    let (one, two) = (one.crl.unwrap(), two.crl.unwrap());
    assert!(one != two && one.parent() == two.parent(), "{one:?} {two:?}");
    assert!(one.starts_with("/var/lib/keyward/served/lists"), "{one:?}");
    for bad in ["http://", "http://ann:secret@ca.example/a.crl", "https://ca.exämple/a.crl"] {
        let problems = read(bad).unwrap_err();
        assert_eq!(problems.errors.len(), 1, "{problems}");
        let told = problems.to_string();
        assert!(told.contains("is no URL of a list") && !told.contains("secret"), "{told}");
    }
}

#[test]
fn hsts_of_all_sites_holds_where_a_site_says_nothing_else() {
    let hsts = |general: &str, lines: &str| {
        let text = format!("[tls]\n{general}\n{}", public(lines));
        parse(&text).unwrap().config.sites[0].hsts
    };
    let of =
        |max_age, include_subdomains, preload| Some(Hsts { max_age, include_subdomains, preload });
    assert_eq!(hsts("", ""), of(63_072_000, false, false));
    assert_eq!(hsts("hsts = false", ""), None);
    assert_eq!(hsts("hsts = true", ""), of(63_072_000, false, false));
    assert_eq!(hsts("hsts = { max_age = 300 }", ""), of(300, false, false));
    assert_eq!(hsts("hsts = { max_age = 300 }", "hsts = true"), of(300, false, false));
    assert_eq!(hsts("hsts = { max_age = 300 }", "hsts = false"), None);
    let sub = "hsts = { max_age = 300, include_subdomains = true }";
    assert_eq!(hsts(sub, "hsts = { max_age = 301 }"), of(301, true, false));
    assert_eq!(hsts(sub, "hsts = { include_subdomains = false }"), of(300, false, false));
    assert_eq!(hsts("hsts = false", "hsts = { max_age = 9 }"), of(9, false, false));
    // Sites of the internal CA have it only where they ask for it themselves.
    let internal = |lines: &str| {
        let text = format!("[tls]\nhsts = {{ max_age = 300 }}\n{SITE}{lines}");
        parse(&text).unwrap().config.sites[0].hsts
    };
    assert_eq!(internal(""), None);
    assert_eq!(internal("hsts = true\n"), of(300, false, false));
}

#[test]
fn hsts_that_cannot_be_taken_back_is_a_warning() {
    let warnings = |text: &str| -> Vec<String> {
        parse(text).unwrap().warnings.iter().map(Problem::one_line).collect()
    };
    let one = |text: &str, expected: &str| {
        let found = warnings(text);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    };
    one(
        &public("hsts = { include_subdomains = true }"),
        "every host below example.org needs HTTPS for 730 days from each visit",
    );
    one(
        &public("hsts = { include_subdomains = true, preload = true }"),
        "preload cannot be undone: whoever sends example.org to the preload list",
    );
    one(
        &format!("[tls]\nhsts = {{ include_subdomains = true }}\n{}", public("")),
        "keyward.toml:2:31: every host below each site's names needs HTTPS",
    );
    // The way back, and what has no hold, are none.
    assert_eq!(warnings(&public("hsts = { max_age = 0, include_subdomains = true }")), [""; 0]);
    assert_eq!(warnings(&public("hsts = { max_age = 300 }")), [""; 0]);
    let sub = public("hsts = { include_subdomains = true }");
    for (below, reason) in [
        ("issuer = 'internal'", "browsers without the internal root get no further there"),
        ("hsts = false", "it is held to HTTPS although hsts = false"),
    ] {
        let site = "[[site]]\nnames = ['nas.example.org']\norigin = 'http://[::1]:1'\n";
        let found = warnings(&format!("{sub}\n{site}{below}\n"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].contains("nas.example.org lies below example.org"), "{found:?}");
        assert!(found[1].contains(reason), "{found:?}");
    }
}

#[test]
fn check_speaks_json() {
    let (status, out, err) = check("[state]\ndri = 1\n", true);
    assert_eq!((status, err.as_str()), (78, ""));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["ok"], false);
    let expected = serde_json::json!({
        "severity": "error", "path": "keyward.toml", "variable": null, "line": 2, "column": 1,
        "key": "state.dri", "problem": "the key \"dri\" is not known here",
        "expected": "one of dir", "try": "dir",
    });
    assert_eq!(report["problems"], serde_json::json!([expected]));
    assert_eq!(report["warnings"][0]["severity"], "warning");

    let (status, out, _) = check(SITE, true);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &report["ok"]), (0, &serde_json::json!(true)));
    assert_eq!(report["sites"][0]["names"], serde_json::json!(["nas.internal"]));
    assert_eq!(report["sites"][0]["issuer"], "internal");
}
