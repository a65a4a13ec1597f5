//! Several servers behind one site: who is asked, who is left out, and what is tried again.

use std::net::SocketAddr;
use std::time::Duration;

use keyward::config;
use keyward::config::{Address, Asking, Origin as Behind, OriginTls, Server, Servers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, limits, site};
use crate::origin::Origin;
use crate::scripted::Scripted;

fn one_worker() -> config::Edge {
    let mut one = limits();
    one.workers = 1;
    one
}

fn at(address: SocketAddr) -> Address {
    Address::Http(address.to_string().parse().unwrap())
}

fn behind(list: impl IntoIterator<Item = (Address, u32)>, asking: Asking) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    let list = list.into_iter().map(|(address, weight)| Server { address, weight }).collect();
    let tls = OriginTls::default();
    site.origin = Behind::Servers(Servers { list, asking, tls, health: None, sticky: None });
    site
}

/// An address at which nobody listens.
fn nowhere() -> Address {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    at(listener.local_addr().unwrap())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
const POST: &str =
    "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

/// The statuses of so many requests, one after the other; those without a body on one connection.
async fn statuses(house: &House, request: &str, count: usize) -> Vec<u16> {
    let mut said = String::new();
    if request.starts_with("POST") {
        for _ in 0..count {
            said += &house.raw("a.example", request.as_bytes()).await;
        }
    } else {
        let most = request.replace("Connection: close\r\n", "").repeat(count - 1);
        said = house.raw("a.example", (most + request).as_bytes()).await;
    }
    let lines = said.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line.get(..3).unwrap().parse().unwrap()).collect()
}

fn failures(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status != 200).count()
}

#[tokio::test]
async fn requests_are_shared_by_weight() {
    let (one, two) = (Origin::start(), Origin::start());
    let list = [(at(one.address), 1), (at(two.address), 4)];
    let house = House::open(vec![behind(list, Asking::default())], one_worker());
    let statuses = statuses(&house, GET, 500).await;
    assert_eq!((statuses.len(), failures(&statuses)), (500, 0));
    assert_eq!(one.seen() + two.seen(), 500);
    assert!((50..150).contains(&one.seen()), "{} and {}", one.seen(), two.seen());
}

#[tokio::test]
async fn the_server_that_has_less_to_do_is_asked() {
    let (one, two) = (Origin::start(), Origin::start());
    let list = [(at(one.address), 1), (at(two.address), 1)];
    let house = House::open(vec![behind(list, Asking::default())], one_worker());
    // One of the two has this for as long as it lasts, and the other one has nothing.
    let mut slow = house.tls("a.example").await;
    slow.write_all(GET.replace("/ ", "/silent ").as_bytes()).await.unwrap();
    while one.seen() + two.seen() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (busy, free) = if one.seen() == 1 { (&one, &two) } else { (&two, &one) };
    assert_eq!(failures(&statuses(&house, GET, 50).await), 0);
    assert_eq!((busy.seen(), free.seen()), (1, 50));
    drop(slow);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(failures(&statuses(&house, GET, 50).await), 0);
    assert!(busy.seen() > 5, "{}", busy.seen());
}

#[tokio::test]
async fn a_server_that_is_away_fails_no_request_and_is_left_out() {
    let origin = Origin::start();
    let list = [(nowhere(), 1), (at(origin.address), 1)];
    let house = House::open(vec![behind(list, Asking::default())], one_worker());
    for request in [GET, POST] {
        assert_eq!(failures(&statuses(&house, request, 40).await), 0);
    }
    let stats = house.edge.stats();
    assert_eq!((stats.origin_retries, stats.origin_ejections), (3, 1));
    assert_eq!((stats.origin_failures, origin.seen()), (0, 80));
}

#[tokio::test]
async fn servers_that_are_all_away_are_asked_as_soon_as_one_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let sockets = [dir.path().join("1"), dir.path().join("2")];
    let list = sockets.clone().map(|path| (Address::Unix(path), 1));
    let house = House::open(vec![behind(list, Asking::default())], one_worker());
    let away = statuses(&house, GET, 20).await;
    assert_eq!(away, [502; 20]);
    assert_eq!(house.edge.stats().origin_ejections, 2);
    let _origin = Origin::on_socket(&sockets[1]);
    // Only the first may meet the one that is still away, and is tried again.
    assert_eq!(failures(&statuses(&house, GET, 20).await), 0);
}

#[tokio::test]
async fn only_what_may_be_sent_twice_is_and_only_as_often_as_the_budget_says() {
    let (breaks, origin) = (Scripted::start(|_| None), Origin::start());
    let list = [(at(breaks.address), 1), (at(origin.address), 1)];
    let asking = Asking { eject_after: 0, retries: 100, ..Asking::default() };
    let house = House::open(vec![behind(list.clone(), asking)], one_worker());
    assert_eq!(failures(&statuses(&house, GET, 60).await), 0);
    let (heard, seen) = (breaks.heard().len(), origin.seen());
    assert!(heard > 10, "{heard}");
    assert_eq!((seen, house.edge.stats().origin_retries), (60, heard as u64));
    let posts = statuses(&house, POST, 60).await;
    let posted = breaks.heard().iter().filter(|head| head.starts_with("POST")).count();
    assert!(posted > 10, "{posted}");
    assert_eq!((failures(&posts), origin.seen() - seen), (posted, 60 - posted));
    drop(house);

    let asking = Asking { retries: 20, ..asking };
    let house = House::open(vec![behind(list, asking)], one_worker());
    let gets = statuses(&house, GET, 200).await;
    let retries = house.edge.stats().origin_retries;
    assert!((45..=50).contains(&retries), "{retries}");
    assert!(failures(&gets) > 20, "{}", failures(&gets));
}

#[tokio::test]
async fn answers_with_an_error_count_as_failures_by_choice() {
    let failing =
        || Scripted::start(|_| Some("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned()));
    for (by_choice, most) in [(true, 2), (false, 50)] {
        let (bad, origin) = (failing(), Origin::start());
        let list = [(at(bad.address), 1), (at(origin.address), 1)];
        let asking = Asking { eject_after: 2, eject_on_errors: by_choice, ..Asking::default() };
        let house = House::open(vec![behind(list, asking)], one_worker());
        let statuses = statuses(&house, GET, 50).await;
        // An answer is an answer: it is passed on, not asked for again.
        assert_eq!(failures(&statuses), bad.heard().len());
        assert!(failures(&statuses) <= most, "{statuses:?}");
        assert!(by_choice || failures(&statuses) > 5, "{statuses:?}");
        assert_eq!(house.edge.stats().origin_retries, 0);
    }
}

#[tokio::test]
async fn a_server_has_no_more_requests_than_it_may_have() {
    let origin = Origin::start();
    let asking = Asking { max_requests: 1, ..Asking::default() };
    let house = House::open(vec![behind([(at(origin.address), 1)], asking)], one_worker());
    let mut slow = house.tls("a.example").await;
    slow.write_all(GET.replace("/ ", "/stall ").as_bytes()).await.unwrap();
    // Its head is there, and its body is not: it is still under way.
    slow.read_exact(&mut [0; 12]).await.unwrap();
    let refused = house.raw("a.example", GET.as_bytes()).await.to_lowercase();
    assert!(
        refused.starts_with("http/1.1 503 ") && refused.contains("\r\nretry-after: 1\r\n"),
        "{refused}"
    );
    drop(slow);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(failures(&statuses(&house, GET, 20).await), 0);
    let stats = house.edge.stats();
    assert_eq!((stats.origins_full, stats.origin_failures, origin.seen()), (1, 0, 21));
}

/// What left HTTP is a burden to its server all the same.
#[tokio::test]
async fn an_upgraded_connection_counts_for_as_long_as_it_lasts() {
    let origin = Scripted::start(|head| {
        let switch = "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        Some(if head.contains("websocket") { switch } else { plain }.to_owned())
    });
    let asking = Asking { max_requests: 1, ..Asking::default() };
    let house = House::open(vec![behind([(at(origin.address), 1)], asking)], one_worker());
    let mut socket = house.tls("a.example").await;
    let upgrade =
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    assert_eq!(statuses(&house, GET, 1).await, [503]);
    drop(socket);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(statuses(&house, GET, 1).await, [200]);
}

#[tokio::test]
async fn each_server_sees_its_own_host_where_the_clients_is_not_kept() {
    let (breaks, origin) = (Scripted::start(|_| None), Origin::start());
    let list = [(at(breaks.address), 1), (at(origin.address), 1)];
    let mut site = behind(list, Asking::default());
    site.preserve_host = false;
    let house = House::open(vec![site], one_worker());
    for _ in 0..20 {
        let answer = house.raw("a.example", GET.replace("/ ", "/head ").as_bytes()).await;
        assert!(answer.contains(&format!("\nhost: {}\n", origin.address)), "{answer}");
    }
    let heard = breaks.heard();
    assert!(!heard.is_empty());
    let host = format!("host: {}\r\n", breaks.address);
    assert!(heard.iter().all(|head| head.to_lowercase().contains(&host)), "{heard:?}");
}
