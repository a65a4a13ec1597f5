//! Clients that come to the same server again, by a cookie that tells nobody which one it is.

use keyward::config;
use keyward::config::{Address, Asking, Origin as Behind, OriginTls, Server, Servers};
use keyward::vault::ticket::RawTicketKey;
use zeroize::Zeroizing;

use crate::house::{House, limits, site};
use crate::origin::Origin;

fn behind(origins: &[&Origin]) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    let address = |origin: &&Origin| Address::Http(origin.address.to_string().parse().unwrap());
    let list = origins.iter().map(|o| Server { address: address(o), weight: 1 }).collect();
    let (asking, tls) = (Asking::default(), OriginTls::default());
    let sticky = Some("to".to_owned());
    site.origin = Behind::Servers(Servers { list, asking, tls, health: None, sticky });
    site
}

/// What is answered to a client with these cookies.
async fn ask(house: &House, cookie: Option<&str>) -> String {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    let request =
        format!("GET /head HTTP/1.1\r\nHost: a.example\r\n{cookie}Connection: close\r\n\r\n");
    let answer = house.raw("a.example", request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

/// The cookie that an answer gives.
fn given(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("\r\nset-cookie: ")?;
    let (cookie, terms) = rest.split_once("\r\n")?.0.split_once("; ")?;
    assert_eq!(terms, "Path=/; Secure; HttpOnly; SameSite=Lax");
    Some(cookie)
}

#[tokio::test]
async fn a_client_with_a_cookie_comes_to_the_same_server_with_every_worker() {
    let origins = [Origin::start(), Origin::start(), Origin::start()];
    let all: Vec<&Origin> = origins.iter().collect();
    let mut many = limits();
    many.workers = 4;
    let house = House::open(vec![behind(&all)], many);
    let answer = ask(&house, None).await;
    let cookie = given(&answer).unwrap().to_owned();
    let its = origins.iter().position(|origin| origin.seen() == 1).unwrap();
    assert!(cookie.starts_with("to=") && !cookie.contains(&origins[its].address.to_string()));
    for _ in 0..30 {
        let answer = ask(&house, Some(&format!("a=1; {cookie}; b=2"))).await;
        assert_eq!(given(&answer), None, "{answer}");
        // The origin sees the others.
        assert!(answer.contains("\ncookie: a=1; b=2\n"), "{answer}");
    }
    assert_eq!(origins[its].seen(), 31);
    // Who has none comes to any of them.
    for _ in 0..30 {
        assert!(given(&ask(&house, None).await).is_some());
    }
    assert!(origins.iter().all(|origin| origin.seen() > 1));
}

#[tokio::test]
async fn where_the_server_is_gone_another_one_is_chosen_with_a_new_cookie() {
    let mut origins = vec![Origin::start(), Origin::start()];
    let house = House::open(vec![behind(&[&origins[0], &origins[1]])], limits());
    let cookie = given(&ask(&house, None).await).unwrap().to_owned();
    let its = origins.iter().position(|origin| origin.seen() == 1).unwrap();
    drop(origins.remove(its));
    let answer = ask(&house, Some(&cookie)).await;
    let next = given(&answer).expect("a new cookie").to_owned();
    assert_ne!(next, cookie);
    let before = origins[0].seen();
    for _ in 0..10 {
        assert_eq!(given(&ask(&house, Some(&next)).await), None);
    }
    assert_eq!(origins[0].seen() - before, 10);
}

/// As after a restart, with the key that the house keeps and with another one.
#[tokio::test]
async fn a_cookie_is_good_under_its_key_alone() {
    let origins = [Origin::start(), Origin::start(), Origin::start()];
    let all: Vec<&Origin> = origins.iter().collect();
    let key = |octet| RawTicketKey { name: [octet; 16], key: Some(Zeroizing::new([octet; 32])) };
    let house = House::open(vec![behind(&all)], limits());
    house.edge.stick_by(&key(1));
    let cookie = given(&ask(&house, None).await).unwrap().to_owned();
    drop(house);
    let house = House::open(vec![behind(&all)], limits());
    house.edge.stick_by(&key(1));
    assert_eq!(given(&ask(&house, Some(&cookie)).await), None);
    house.edge.stick_by(&key(2));
    assert!(given(&ask(&house, Some(&cookie)).await).is_some());
    // Nor is it one of another site's.
    let mut other = behind(&all);
    other.names = site(&["b.example"], ([127, 0, 0, 1], 9).into()).names;
    let house = House::open(vec![other], limits());
    house.edge.stick_by(&key(1));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: b.example\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    );
    let answer = house.raw("b.example", request.as_bytes()).await;
    assert!(given(&answer).is_some(), "{answer}");
}
