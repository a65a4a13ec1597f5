//! What the kernel does at the door before the edge hears of a client.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::house::{House, limits, site};
use crate::origin::Origin;

#[tokio::test]
async fn who_connects_and_says_nothing_is_taken_in_later_and_not_lost() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    for address in [house.https, house.http] {
        let before = house.edge.stats().connections.total;
        let silent = tokio::net::TcpStream::connect(address).await.unwrap();
        sleep(Duration::from_millis(300)).await;
        assert_eq!(house.edge.stats().connections.total, before, "nobody has spoken");
        for _ in 0..100 {
            sleep(Duration::from_millis(100)).await;
            if house.edge.stats().connections.total > before {
                break;
            }
        }
        assert_eq!(house.edge.stats().connections.total, before + 1, "taken in as it is");
        drop(silent);
    }
}

/// How a load balancer may ask whether somebody is there.
#[tokio::test]
async fn who_connects_and_leaves_is_seen_at_once() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let mut check = tokio::net::TcpStream::connect(house.https).await.unwrap();
    check.shutdown().await.unwrap();
    let read = tokio::time::timeout(Duration::from_millis(900), check.read(&mut [0; 1])).await;
    assert_eq!(read.expect("closed at once").unwrap_or(0), 0);
    assert_eq!(house.edge.stats().connections.total, 1);
}

/// In a network of its own, where the switch of the kernel can be set.
#[test]
fn a_known_client_shakes_hands_from_its_first_packet() {
    const ROLE: &str = "KEYWARD_TEST_FAST_OPEN";
    if std::env::var_os(ROLE).is_some() {
        return first_packets();
    }
    let output = Command::new("unshare")
        .args(["--net", "--map-root-user", "sh", "-c"])
        .arg("ip link set lo up && echo 3 >/proc/sys/net/ipv4/tcp_fastopen && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1", "--nocapture"])
        .arg("sockets::a_known_client_shakes_hands_from_its_first_packet")
        .env(ROLE, "1")
        .output()
        .expect("unshare is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let erred = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{erred}");
}

fn first_packets() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    let visit = || house.curl("a.example", &["--tcp-fastopen", &house.url("a.example", "/")]);
    // The first visit brings the cookie, the second one uses it.
    assert_eq!((visit().as_str(), passive_opens()), ("ok", 0));
    assert_eq!((visit().as_str(), passive_opens()), ("ok", 1));
}

/// Connections of this network that a server took with data in their first packet.
fn passive_opens() -> u64 {
    let table = std::fs::read_to_string("/proc/self/net/netstat").unwrap();
    let mut lines = table.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "TCPFastOpenPassive").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}
