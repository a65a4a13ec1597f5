//! Two users of the machine, each with certificates of its own: neither sees that the other is there, and
//! neither changes what is the other's, on any route.

use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use std::time::Instant;

use keyward::admin::table;
use serde_json::Value;
use serde_json::json;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::scene::Scene;
use crate::users::connect_as;
use crate::users::is_root;

const CLIENTS: &str = "
[allowance]
single = 5
[[client]]
name = 'annika'
users = ['70001']
[[client]]
name = 'bertram'
users = ['70002']
";

/// One who asks, and what is its own.
struct User {
    client: &'static str,
    number: u32,
    /// A certificate that was issued, with its key, and one that waits for the limits of the CA.
    ids: Vec<String>,
    /// Everything by which it, or what is its own, could be known to others.
    marks: Vec<String>,
    pack: String,
    token: String,
}

/// An id that no certificate has.
const NOBODYS: &str = "00000000000000aa";

/// What is asked for in the place of a certificate, a client, a pack or a token.
struct Meant<'a> {
    certificate: &'a str,
    client: &'a str,
    pack: &'a str,
    token: &'a str,
}

impl Meant<'_> {
    fn fill(&self, path: &str) -> String {
        let id = if path.starts_with("/v1/packs") { self.pack } else { self.token };
        path.replace("{selector}", self.certificate)
            .replace("{name}", self.certificate)
            .replace("{client}", self.client)
            .replace("{channel}", "none")
            .replace("{id}", id)
    }
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: k\r\nconnection: close\r\n{more}\r\n")
}

impl User {
    fn new(client: &'static str, number: u32) -> Self {
        let marks = vec![client.to_owned()];
        Self { client, number, ids: Vec::new(), marks, pack: String::new(), token: String::new() }
    }

    /// One request of this user, with a body; the status and the body of the answer.
    fn ask(&self, keyward: &Keyward, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = connect_as(&keyward.socket(), self.number, &[self.number]);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let fields =
            format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        stream.write_all((head(method, path, &fields) + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Orders a certificate; every user has the same ideas of idempotency keys.
    fn order(&self, keyward: &Keyward, name: &str, key: &str, wait: &str) -> Value {
        let body =
            json!({"names": [name], "exportable": true, "hosted": true, "idempotency_key": key});
        let path = format!("/v1/certificates?wait={wait}");
        let (status, said) = self.ask(keyward, "POST", &path, &body.to_string());
        assert!([201, 202].contains(&status), "{status} {said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["fresh"], true, "the key of somebody else is nobody's: {said}");
        said["certificate"].clone()
    }

    /// Has one issued, gets a pack and a token, and then waits in vain for another one.
    fn settle_in(&mut self, keyward: &Keyward) {
        let name = format!("shop.{}.example", self.client);
        let issued = self.order(keyward, &name, "first", "300s");
        assert_eq!(issued["phase"], "holding", "{issued}");
        self.marks.push(issued["installed"]["serial"].as_str().unwrap().to_owned());
        self.ids.push(issued["id"].as_str().unwrap().to_owned());
        let pack = keyward.cli(&[
            "--json",
            "pack",
            "grant",
            self.client,
            "--count",
            "3",
            "--class",
            "single",
        ]);
        self.pack = pack.json()["id"].to_string().trim_matches('"').to_owned();
        let made = keyward.cli(&[
            "token",
            "create",
            self.client,
            "--name",
            &format!("of-{}", self.client),
        ]);
        made.ok();
        let tokens = keyward.cli(&["--json", "token", "list"]).json();
        let mine = |token: &&Value| token["client"] == self.client;
        let token = tokens["tokens"].as_array().unwrap().iter().find(mine).unwrap();
        self.token = token["id"].to_string().trim_matches('"').to_owned();
    }

    fn wait_in_vain(&mut self, keyward: &Keyward) {
        let name = format!("later.{}.example", self.client);
        let waits = self.order(keyward, &name, "second", "0s");
        self.ids.push(waits["id"].as_str().unwrap().to_owned());
        self.marks.extend(self.ids.clone());
    }

    fn means<'a>(&'a self, certificate: &'a str) -> Meant<'a> {
        Meant { certificate, client: self.client, pack: &self.pack, token: &self.token }
    }

    /// That `text` tells nothing of this user.
    fn is_not_told_of(&self, text: &str, what: &str) {
        for mark in &self.marks {
            assert!(!text.contains(mark.as_str()), "{what}: {mark} is told: {text}");
        }
    }

    /// What the operator sees of this user and of what is its own.
    fn standing(&self, keyward: &Keyward) -> String {
        let mut paths = vec![
            format!("/allowances/{}", self.client),
            format!("/ledger?client={}&limit=1000", self.client),
            format!("/packs?client={}", self.client),
            "/tokens".to_owned(),
        ];
        paths.extend(self.ids.iter().map(|id| format!("/certificates/{id}")));
        let shown = paths.into_iter().map(|path| {
            let mut shown: Value = serde_json::from_str(&keyward.api(&path, &[]).1).unwrap();
            // Which time changes, and not who asks.
            shown["signing"].take();
            shown["installed"]["percent_left"].take();
            format!("{shown}\n")
        });
        shown.collect()
    }
}

/// Opens what the sockets lie in to everybody, as the package does.
fn open_the_way(scene: &Scene) {
    let dir = scene.keyward.dir.path();
    for place in [dir.to_owned(), dir.join("run")] {
        std::fs::set_permissions(place, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// What `one` asks in the place of `other`, on every route: it gets the answers of somebody who asks for
/// what is not there.
fn tries_everything(keyward: &Keyward, one: &User, other: &User) {
    let bodies = ["", "{}", &json!({"reason": "superseded"}).to_string()].map(str::to_owned);
    let nothing =
        Meant { certificate: NOBODYS, client: "nobody", pack: "4000000", token: "ffffffffffff" };
    for (method, path, need) in table() {
        let told = format!("{method} {path} by {}", one.client);
        let more = if path.ends_with("/key") { "?recipient=age1qqqq" } else { "" };
        for body in &bodies {
            if !path.contains('{') {
                // Nothing of others is in a list, whatever of it is asked for.
                for question in ["", &format!("?client={}", other.client), "?limit=1000"] {
                    let said =
                        one.ask(keyward, method.as_str(), &format!("{path}{question}"), body);
                    let (_, said) = said;
                    other.is_not_told_of(&said.replace(question, ""), &told);
                }
                continue;
            }
            for certificate in &other.ids {
                let names = [certificate.clone(), certificate[..8].to_owned()];
                for meant in names {
                    let of_other = other.means(&meant);
                    let (asked, absent) = (of_other.fill(path), nothing.fill(path));
                    let said = one.ask(keyward, method.as_str(), &format!("{asked}{more}"), body);
                    let would = one.ask(keyward, method.as_str(), &format!("{absent}{more}"), body);
                    let echo = |(status, text): (u16, String), meant: &Meant<'_>| {
                        let text = text.replace(meant.certificate, "?");
                        let text = text.replace(meant.client, "?").replace(meant.token, "?");
                        let text = text.replace(&format!("pack {}", meant.pack), "pack ?");
                        (status, text)
                    };
                    let (said, would) = (echo(said, &of_other), echo(would, &nothing));
                    assert_eq!(said, would, "{told}: {asked} is told from {absent}");
                    assert!(said.0 >= 400, "{told} ({need:?}): {said:?}");
                }
            }
        }
    }
    // By its names and its serial, and by descriptors.
    for mark in &other.marks {
        let (status, _) = one.ask(keyward, "GET", &format!("/v1/certificates/{mark}"), "");
        assert!([400, 404].contains(&status), "{mark}: {status}");
        let (status, _) = one.ask(keyward, "DELETE", &format!("/v1/certificates/{mark}"), "");
        assert!([400, 404].contains(&status), "{mark}: {status}");
    }
    let taken = json!({"names": ["x.example"], "client": other.client}).to_string();
    let (status, said) = one.ask(keyward, "POST", "/v1/certificates", &taken);
    assert_eq!(status, 403, "{said}");
    for id in &other.ids {
        let said = hand_over(keyward, one, id);
        assert_eq!(said.replace(id, "?"), hand_over(keyward, one, NOBODYS).replace(NOBODYS, "?"));
    }
}

/// What is answered to who wants the key of `certificate` written into a descriptor.
fn hand_over(keyward: &Keyward, user: &User, certificate: &str) -> String {
    let (mut reader, pipe) = std::io::pipe().unwrap();
    let mut stream = connect_as(&keyward.socket(), user.number, &[user.number]);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let order = format!("\0\x01{{\"export\":{{\"certificate\":\"{certificate}\"}}}}");
    keyward::os::descriptors::send_with(stream.as_fd(), order.as_bytes(), &[pipe.as_fd()]).unwrap();
    drop(pipe);
    let mut answer = String::new();
    let _reset = stream.read_to_string(&mut answer);
    let mut key = Vec::new();
    reader.read_to_end(&mut key).unwrap();
    assert_eq!(key.is_empty(), !user.ids.iter().any(|id| id == certificate), "{certificate}");
    answer
}

/// Follows the journal from its beginning for as long as `act` goes on, and until `until` was told.
fn followed(keyward: &Keyward, user: &User, until: &str, act: impl FnOnce()) -> String {
    let mut stream = connect_as(&keyward.socket(), user.number, &[user.number]);
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let fields = "accept: text/event-stream\r\n";
    stream.write_all(head("GET", "/v1/events?after=0", fields).as_bytes()).unwrap();
    act();
    let (begin, mut heard, mut piece) = (Instant::now(), Vec::new(), [0; 4096]);
    loop {
        if let Ok(length) = stream.read(&mut piece) {
            assert_ne!(length, 0, "the stream ended");
            heard.extend_from_slice(&piece[..length]);
            continue;
        }
        // Silent for a second, and what has to be there is there.
        let text = String::from_utf8_lossy(&heard).into_owned();
        if text.contains(until) {
            return text;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{until} was not told: {text}");
    }
}

/// The list as the operator and its owners have it narrowed.
fn narrowed(keyward: &Keyward, [ann, bob]: [&User; 2]) {
    let ids = |said: &str| -> Vec<String> {
        let said: Value = serde_json::from_str(said).unwrap();
        let list = said["certificates"].as_array().unwrap();
        let mut ids: Vec<_> =
            list.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let all = |question: &str| ids(&keyward.api(&format!("/certificates?{question}"), &[]).1);
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let issued = vec![ann.ids[0].clone(), bob.ids[0].clone()];
    assert_eq!(all("limit=1000"), sorted([ann.ids.clone(), bob.ids.clone()].concat()));
    assert_eq!(all("client=annika"), sorted(ann.ids.clone()));
    assert_eq!(all("client=annika&phase=waiting"), ann.ids[1..]);
    assert_eq!(all("name=shop.bertram.example"), bob.ids[..1]);
    assert_eq!(all("name=*.bertram.example"), Vec::<String>::new());
    assert_eq!(all("expires_before=2100-01-01T00:00:00Z"), sorted(issued), "installed ones alone");
    assert_eq!(all("expires_before=2020-01-01T00:00:00Z"), Vec::<String>::new());
    assert_eq!(all("issuer=internal"), Vec::<String>::new());
    let (_, shown) = keyward.api(&format!("/certificates/{}", ann.ids[0]), &[]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let issuer = shown["issuer"].as_str().unwrap();
    assert_eq!(all(&format!("issuer={issuer}")).len(), 4);
    let own = |user: &User, question: &str| {
        ids(&user.ask(keyward, "GET", &format!("/v1/certificates?{question}"), "").1)
    };
    assert_eq!(own(ann, "phase=holding"), ann.ids[..1]);
    assert_eq!(own(ann, "client=bertram"), Vec::<String>::new());
    assert_eq!(own(ann, "name=shop.bertram.example"), Vec::<String>::new());
}

#[test]
fn neither_of_two_users_sees_or_changes_what_is_the_others() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::custom("office.example", "", |_| {});
    scene.configure_with("limits = { orders = \"2/12h\" }\n", CLIENTS);
    scene.keyward.start();
    open_the_way(&scene);
    let keyward = &scene.keyward;
    let (mut ann, mut bob) = (User::new("annika", 70001), User::new("bertram", 70002));
    for user in [&mut ann, &mut bob] {
        user.settle_in(keyward);
    }
    for user in [&mut ann, &mut bob] {
        user.wait_in_vain(keyward);
    }
    // Each sees its own, whole.
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        let (status, list) = one.ask(keyward, "GET", "/v1/certificates", "");
        assert!(status == 200 && one.ids.iter().all(|id| list.contains(id)), "{list}");
        other.is_not_told_of(&list, "the list");
        let (status, chain) =
            one.ask(keyward, "GET", &format!("/v1/certificates/{}/chain", one.ids[0]), "");
        assert!(status == 200 && chain.contains("BEGIN CERTIFICATE"), "{chain}");
        assert!(hand_over(keyward, one, &one.ids[0]).contains("chain"));
    }
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        let before = other.standing(keyward);
        tries_everything(keyward, one, other);
        for (is, was) in other.standing(keyward).lines().zip(before.lines()) {
            assert_eq!(is, was, "{} changed what is not its own", one.client);
        }
    }
    narrowed(keyward, [&ann, &bob]);
    // What is told as it happens, and what stands in the journal from before.
    let told = followed(keyward, &ann, "issue-withdrawn", || {
        for user in [&bob, &ann] {
            let path = format!("/v1/certificates/{}", user.ids[1]);
            let (status, said) = user.ask(keyward, "DELETE", &path, "");
            assert_eq!(status, 200, "{said}");
        }
    });
    bob.is_not_told_of(&told, "the stream");
    assert!(ann.ids.iter().all(|id| told.contains(id)), "{told}");
    eventually("the operator sees both", Duration::from_secs(30), || {
        let (_, all) = keyward.api("/events?after=0&limit=1000", &[]);
        [&ann, &bob].iter().all(|user| all.contains(&user.ids[1])).then_some(())
    });
}
