//! Every mistake that can be made in `[[dns]]`: named, with what was expected in its place.

use std::os::unix::fs::PermissionsExt as _;

use crate::daemon::Keyward;

/// An account that is as it has to be; `{secret}` is a file.
const GOOD: &str = "name = \"main\"\nprovider = \"rfc2136\"\nzones = [\"a.example\"]\n\
                    propagation = \"1m\"\nttl = 60\n\
                    with = { server = \"192.0.2.53:53\", key_name = \"k\", key_file = \"{secret}\" }\n";

/// What stands in the good account, what somebody writes in its place, what is said, and what is expected.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("provider = \"rfc2136\"\n", "", "the account names no provider", "`provider`, one of "),
    ("\"rfc2136\"", "\"rfc2163\"", "the DNS provider \"rfc2163\" is not known", "try: \"rfc2136\""),
    (
        "\"rfc2136\"",
        "\"qqqqq\"",
        "the DNS provider \"qqqqq\" is not known",
        "\"exec\" with a program",
    ),
    ("[\"a.example\"]", "[]", "the account has no zones", "a list of the zones that it may change"),
    ("a.example", "a..example", "\"a..example\" is no name of a zone", "such as \"example.org\""),
    ("a.example", "*.a.example", "\"*.a.example\" is no name of a zone", "such as \"example.org\""),
    (
        "a.example\"",
        "a.example\", \"A.Example.\"",
        "the zone a.example stands twice",
        "each zone once",
    ),
    ("\"1m\"", "\"1h\"", "\"1h\" is no time for records to spread", "a duration of at most 3m"),
    ("\"1m\"", "\"soon\"", "\"soon\" is no time for records to spread", "a duration of at most 3m"),
    ("ttl = 60", "ttl = 0", "0 is out of bounds", "a number of seconds from 1 to 86400"),
    ("ttl = 60", "ttl = 86401", "86401 is out of bounds", "a number of seconds from 1 to 86400"),
    (
        "server = \"192.0.2.53:53\", ",
        "",
        "rfc2136 needs server",
        "of rfc2136: server, key_name, key_",
    ),
    ("key_name = \"k\", ", "", "rfc2136 needs key_name", "with = { key_name = "),
    (
        ", key_file = \"{secret}\"",
        "",
        "rfc2136 needs key_file or key_credential",
        "key_file = \"...\"",
    ),
    (
        "\"k\"",
        "\"\"",
        "key_name is empty, or has a control character in it",
        "what the provider calls it",
    ),
    (
        "\"k\"",
        "\"a\\u0007\"",
        "key_name is empty, or has a control character in it",
        "what the provider calls it",
    ),
    (
        "key_file = \"{secret}\"",
        "key = \"c2VjcmV0\"",
        "key is a secret, which has no place",
        "key_file = ",
    ),
    (
        "key_file",
        "key_credential = \"tsig\", key_file",
        "key is said twice",
        "a file or a credential, not both",
    ),
    (
        "key_file = \"{secret}\"",
        "key_credential = \"../tsig\"",
        "\"../tsig\" is no name of a credential",
        "the name in LoadCredential=",
    ),
    (
        "key_name",
        "algoritm = \"x\", key_name",
        "the key \"algoritm\" is not known here",
        "try: algorithm",
    ),
    ("{secret}", "{secret}.not", "there is no file", "{secret}.not"),
    (
        "{secret}",
        "{open}",
        "everybody on this machine can read or change the file",
        "chmod o= {open}",
    ),
    (
        "192.0.2.53:53",
        "192.0.2.53",
        "\"192.0.2.53\" is no address with a port",
        "such as \"192.0.2.53:53\"",
    ),
    (
        "key_name",
        "algorithm = \"hmac-md5\", key_name",
        "\"hmac-md5\" is no algorithm of TSIG",
        "one of hmac-sha",
    ),
    (
        "zones",
        "servers = [\"192.0.2.1:dns\"]\nzones",
        "\"192.0.2.1:dns\" is no address of a name server",
        "an IP address, with a port if that is not 53",
    ),
];

/// The same of other providers, whole.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "provider = \"exec\"\nwith = { program = \"{secret}.not\" }\n",
        "there is no file",
        "{secret}.not",
    ),
    (
        "provider = \"exec\"\nwith = { program = \"/bin/sh\", mode = \"cooked\" }\n",
        "\"cooked\" is no mode of a program",
        "\"default\" (record and value) or \"raw\"",
    ),
    (
        "provider = \"acme-dns\"\nwith = { server = \"auth.acme-dns.io\", username = \"u\", \
         password_file = \"{secret}\", subdomain = \"s\" }\n",
        "\"auth.acme-dns.io\" is no URL",
        "such as \"https://auth.acme-dns.io\"",
    ),
    (
        "name = \"main\"\nprovider = \"cloudflare\"\nwith = { token_file = \"{secret}\" }\n",
        "two accounts are called \"main\"",
        "each name once",
    ),
];

#[test]
fn each_mistake_in_an_account_is_named_with_what_was_expected() {
    let keyward = Keyward::new("", "");
    let path = |name: &str, mode: u32| {
        let path = keyward.dir.path().join(name);
        std::fs::write(&path, "c2VjcmV0").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let (secret, open) = (path("secret", 0o400), path("open", 0o604));
    let filled = |text: &str| text.replace("{secret}", &secret).replace("{open}", &open);
    // Words, for lines are broken where the terminal ends.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let check = |tables: &str| {
        let sites = "[[site]]\nnames = [\"nas.internal\"]\norigin = \"http://127.0.0.1:9\"\n";
        keyward.configure("", &filled(&format!("{tables}{sites}")));
        let said = keyward.cli(&["check", keyward.config().to_str().unwrap()]);
        (said.status.code(), words(&(said.out + &said.err)))
    };
    let good = format!("[[dns]]\n{GOOD}");
    assert_eq!(check(&good).0, Some(0), "{}", check(&good).1);
    let written = MISTAKES.iter().map(|(from, to, said, expected)| {
        assert!(good.contains(from), "{from}");
        (good.replacen(from, to, 1), *said, *expected)
    });
    let others = OTHERS.iter().map(|(table, said, expected)| {
        (format!("{good}[[dns]]\nzones = [\"b.example\"]\n{table}"), *said, *expected)
    });
    for (tables, told, expected) in written.chain(others) {
        let (status, text) = check(&tables);
        assert_eq!(status, Some(78), "{tables}\n{text}");
        for part in [told, expected] {
            assert!(text.contains(&words(&filled(part))), "{part}\n{tables}\n{text}");
        }
        assert!(!text.contains("c2VjcmV0"), "a secret is told: {text}");
    }
}
