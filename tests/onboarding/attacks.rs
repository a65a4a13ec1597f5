//! Clients that ask for names that nobody means.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use crate::daemon::eventually;
use crate::scene::Scene;
use crate::scene::hello;

/// What the daemon has in memory, in KiB.
fn resident(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.keyward.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Asks for each of these names without waiting for what comes back before all have asked; how many
/// were let in.
fn flood(scene: &Scene, names: impl Iterator<Item = String>) -> (usize, usize) {
    let (mut asked, mut let_in) = (0, 0);
    let mut open: Vec<TcpStream> = Vec::new();
    let mut drain = |open: &mut Vec<TcpStream>| {
        for mut stream in open.drain(..) {
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let mut first = [0];
            let_in += usize::from(stream.read_exact(&mut first).is_ok() && first[0] == 22);
        }
    };
    for name in names {
        // Turned away at the door, some are; that is an answer, too.
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", scene.keyward.https)) else {
            continue;
        };
        if stream.write_all(&hello(&name)).is_ok() {
            asked += 1;
            open.push(stream);
        }
        if open.len() >= 100 {
            drain(&mut open);
        }
    }
    drain(&mut open);
    (asked, let_in)
}

#[test]
fn a_flood_of_names_below_a_wildcard_costs_no_more_than_the_budget() {
    let tables = "[[site]]\nnames = [\"known.internal\"]\norigin = \"http://127.0.0.1:9\"\n";
    let scene = Scene::new("suffixes = [\"wild.example\"]\nper_network = 3", tables);
    eventually("the site is there", Duration::from_secs(100), || {
        (scene.greet("known.internal") == 22).then_some(())
    });
    let before = resident(&scene);
    let begun = Instant::now();
    let names = (0..2000).map(|number| format!("x{number}q.wild.example"));
    let (asked, _) = flood(&scene, names);
    let minutes = usize::try_from(begun.elapsed().as_secs() / 60 + 2).unwrap();
    assert!(asked > 1500, "{asked} were asked for");
    assert_eq!(scene.greet("known.internal"), 22, "sites of the file go on");
    let orders = scene.pebble.orders();
    assert!((1..=3).contains(&orders), "{orders} orders");
    assert_eq!(scene.names().len(), orders, "{:?}", scene.names());
    // Thirty look-ups a minute of one network, and what the CA itself asks about the ones that were let in.
    let by_ca = 12 * orders;
    let questions = scene.bind.asked("wild.example");
    assert!(questions <= minutes * 30 + by_ca, "{questions} questions in {minutes} minutes");
    let grown = resident(&scene).saturating_sub(before);
    println!("{asked} names asked for: {orders} orders, {questions} questions, {grown} KiB more");
    assert!(grown < 64 * 1024, "{grown} KiB more");
}

#[test]
fn names_that_nobody_may_bring_are_not_looked_up_at_all() {
    let tables = "[[site]]\nnames = [\"*.own.shop.example\"]\norigin = \"http://127.0.0.1:9\"\n\
                  issuer = \"internal\"\n";
    let scene = Scene::new("suffixes = [\"shop.example\"]\ndenied = [\"b.shop.example\"]", tables);
    let before = scene.bind.log().matches(" query: ").count();
    let deep = vec!["a"; 100].join(".") + ".shop.example";
    for name in ["x.wild.example", "b.shop.example", "c.b.shop.example", &deep, "shop.internal"] {
        assert_eq!(scene.greet(name), 21, "{name}");
    }
    // Another site's wildcard has it: it is served as that, and never taken for a name of its own.
    eventually("the wildcard is issued", Duration::from_secs(100), || {
        (scene.greet("any.own.shop.example") == 22).then_some(())
    });
    assert_eq!(scene.bind.log().matches(" query: ").count(), before, "{}", scene.bind.log());
    assert_eq!((scene.names().len(), scene.pebble.orders()), (0, 0));
}

#[test]
fn a_name_that_leads_elsewhere_is_looked_up_once_in_a_while() {
    let scene = Scene::new("", "");
    let begun = Instant::now();
    for _ in 0..40 {
        assert_eq!(scene.greet("away.shop.example"), 21);
        assert_eq!(scene.greet("one.shop.example"), 21);
        assert_eq!(scene.greet("nothing.shop.example"), 21);
    }
    let minutes = usize::try_from(begun.elapsed().as_secs() / 60 + 1).unwrap();
    // Two aliases and an end; a circle of two; nothing.
    for (name, most) in
        [("away.shop.example", 1), ("one.shop.example", 1), ("nothing.shop.example", 1)]
    {
        let questions = scene.bind.asked(name);
        assert!((1..=most * minutes).contains(&questions), "{name}: {questions}");
    }
    assert_eq!(scene.pebble.orders(), 0);
}

#[test]
fn new_names_of_one_domain_have_a_budget_that_a_restart_does_not_renew() {
    let mut scene = Scene::new("per_domain = 2", "");
    for name in ["one.wild.example", "two.wild.example"] {
        assert_eq!(scene.visit(name, &[]).ok(), "ok", "{name}");
    }
    assert_eq!(scene.greet("three.wild.example"), 21);
    scene.keyward.kill9();
    scene.keyward.start();
    assert_eq!(scene.greet("four.wild.example"), 21);
    assert_eq!(scene.visit("one.wild.example", &[]).ok(), "ok", "those that are there go on");
    assert_eq!(scene.visit("www.shop.example", &[]).ok(), "ok", "and others may come");
    assert_eq!(scene.pebble.orders(), 3);
}

#[test]
fn a_flood_of_names_that_lead_nowhere_is_looked_up_in_small_part() {
    let scene = Scene::new("", "");
    let begun = Instant::now();
    let (asked, let_in) = flood(&scene, (0..1500).map(|number| format!("x{number}q.shop.example")));
    // Names that differ in their registered domain as well.
    let (more, others) = flood(&scene, (0..500).map(|number| format!("www.y{number}q.example")));
    assert!(
        asked > 1000 && more > 300 && let_in + others == 0,
        "{asked}, {more}, {let_in}, {others}"
    );
    let minutes = usize::try_from(begun.elapsed().as_secs() / 60 + 2).unwrap();
    let log = scene.bind.log();
    let questions = log.matches("q.shop.example IN").count() + log.matches("q.example IN").count();
    println!("{asked} and {more} names asked for: {questions} questions");
    // Thirty a minute of one network; each is asked for at most once more by the resolver.
    assert!(
        (1..=minutes * 30 * 2).contains(&questions),
        "{questions} questions in {minutes} minutes"
    );
    assert_eq!((scene.names().len(), scene.pebble.orders()), (0, 0));
}
