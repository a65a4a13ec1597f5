//! Floods in simulated time: who gets in, and what is left for others.

use std::net::Ipv4Addr;

use super::*;

/// What a full handshake and a returning one cost here.
const COST: Duration = Duration::from_micros(200);

fn network(number: u32) -> Network {
    Network::of(Ipv4Addr::from_bits(number << 8).into())
}

fn limits() -> config::Edge {
    let minute = Duration::from_secs(60);
    config::Edge {
        workers: 1,
        handshake_timeout: Duration::from_secs(10),
        header_timeout: minute,
        idle_timeout: minute,
        connect_timeout: minute,
        response_timeout: minute,
        body_timeout: minute,
        origin_idle: 0,
        max_connections: 1000,
        network_share: 75,
        handshake_share: 80,
        drain_timeout: minute,
        linger_timeout: minute,
        request_ids: config::RequestIds::Off,
        http3: false,
        name_servers: Vec::new(),
    }
}

/// A worker's time, in steps of one handshake, with clients that want handshakes at their own rates.
struct Flood {
    crowd: Crowd,
    limits: config::Edge,
    began: Instant,
    now: Instant,
}

/// One who wants a handshake every so often, and what became of that.
struct Client {
    network: Network,
    ticket: bool,
    every: Duration,
    next: Instant,
    let_in: u32,
    away: u32,
}

impl Flood {
    fn new() -> Self {
        let began = Instant::now();
        Self { crowd: Crowd::new(1000, began), limits: limits(), began, now: began }
    }

    fn client(&self, network: Network, ticket: bool, per_second: u32) -> Client {
        let every = Duration::from_secs(1) / per_second;
        // Not all at the same moment.
        let next = self.now + every.mul_f64(fastrand::f64());
        Client { network, ticket, every, next, let_in: 0, away: 0 }
    }

    /// Serves `clients` for `time`, each as it asks.
    fn serve(&mut self, clients: &mut [Client], time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_micros(200);
            for client in &mut *clients {
                self.ask(client);
            }
        }
    }

    fn ask(&mut self, client: &mut Client) {
        while client.next <= self.now {
            client.next += client.every;
            let (crowd, now) = (&mut self.crowd, self.now);

            let class = crowd.class(client.network, client.ticket, now);
            if crowd.admit(class, client.network, &self.limits, now).is_ok() {
                crowd.begin(class);
                crowd.spent(class, client.network, COST, now);
                crowd.finish(class);
                client.let_in += 1;
            } else {
                crowd.turned_away(client.network, now);
                client.away += 1;
            }
        }
    }

    /// The part of the time that full handshakes had, of all that has passed.
    fn load(&self, clients: &[Client]) -> f64 {
        let let_in: u32 = clients.iter().map(|client| client.let_in).sum();
        COST.as_secs_f64() * f64::from(let_in) / (self.now - self.began).as_secs_f64()
    }
}

#[test]
fn who_asks_for_less_than_there_is_is_never_turned_away() {
    let mut flood = Flood::new();
    // A load balancer with 2900 handshakes a second, 58 % of the worker's time.
    let mut clients = [flood.client(network(1), false, 2900)];
    flood.serve(&mut clients, Duration::from_secs(20));
    assert_eq!(clients[0].away, 0);
}

#[test]
fn a_flood_from_one_network_leaves_the_others_their_handshakes() {
    let mut flood = Flood::new();
    let mut clients = [
        flood.client(network(1), false, 10_000),
        flood.client(network(2), false, 50),
        flood.client(network(3), false, 200),
    ];
    flood.serve(&mut clients, Duration::from_secs(20));
    let [hog, few, some] = &clients;
    assert_eq!((few.away, some.away), (0, 0));
    assert!(hog.away > 2 * hog.let_in, "{} and {}", hog.away, hog.let_in);
    // It has most of the time, as nobody else wants it.
    let load = flood.load(&clients);
    assert!((0.4..0.66).contains(&load), "{load}");
}

#[test]
fn a_flood_from_a_hundred_networks_leaves_the_others_their_handshakes() {
    let mut flood = Flood::new();
    let mut clients: Vec<_> = (1..=100).map(|n| flood.client(network(n), false, 100)).collect();
    clients.push(flood.client(network(200), false, 10));
    flood.serve(&mut clients, Duration::from_secs(20));
    let few = clients.last().unwrap();
    assert!(few.away <= few.let_in / 20, "{} beside {}", few.away, few.let_in);
    let load = flood.load(&clients);
    assert!((0.5..0.85).contains(&load), "{load}");
}

/// Nobody stands out, so there is nobody to put back: the worker's time is kept all the same.
#[test]
fn a_flood_from_everywhere_takes_no_more_than_its_time() {
    let mut flood = Flood::new();
    let mut clients: Vec<_> = (0..1000).map(|n| flood.client(network(n), false, 10)).collect();
    flood.serve(&mut clients, Duration::from_secs(6));
    let load = flood.load(&clients);
    // The 0.8 of the six seconds, and one second's worth before it was known for a flood.
    assert!((0.7..0.94).contains(&load), "{load}");
}

#[test]
fn returning_clients_get_through_a_flood_of_new_ones() {
    let mut flood = Flood::new();
    let mut clients: Vec<_> = (0..1000).map(|n| flood.client(network(n), false, 10)).collect();
    clients.push(flood.client(network(9000), true, 100));
    flood.serve(&mut clients, Duration::from_secs(6));
    assert_eq!(clients.last().unwrap().away, 0);
}

#[test]
fn tickets_that_spare_nothing_are_not_believed_in_for_a_while() {
    let mut flood = Flood::new();
    let liar = network(1);
    for _ in 0..16 {
        assert_eq!(flood.crowd.class(liar, true, flood.now), Class::Returning);
        flood.crowd.false_ticket(liar, flood.now);
    }
    assert_eq!(flood.crowd.class(liar, true, flood.now), Class::Full);
    assert_eq!(flood.crowd.class(network(2), true, flood.now), Class::Returning);
    flood.now += FALSE_TICKET_MEMORY;
    assert_eq!(flood.crowd.class(liar, true, flood.now), Class::Returning);
}

#[test]
fn handshakes_that_wait_for_their_clients_are_bounded() {
    let mut crowd = Crowd::new(1000, Instant::now());
    let (limits, now) = (limits(), Instant::now());
    let admit = |crowd: &Crowd, class| crowd.admit(class, network(1), &limits, now);
    for _ in 0..500 {
        assert_eq!(admit(&crowd, Class::Full), Ok(()));
        crowd.begin(Class::Full);
    }
    assert_eq!(admit(&crowd, Class::Full), Err(Away::Unfinished));
    assert_eq!(admit(&crowd, Class::Returning), Ok(()));
    crowd.finish(Class::Full);
    assert_eq!(admit(&crowd, Class::Full), Ok(()));
}

/// As after a pause of the whole machine, or while a vault is replaced.
#[test]
fn a_few_handshakes_that_were_held_up_are_no_flood() {
    let mut crowd = Crowd::new(1000, Instant::now());
    let now = Instant::now();
    for _ in 0..10 {
        crowd.spent(Class::Full, network(1), Duration::from_secs(5), now);
    }
    assert_eq!(crowd.admit(Class::Full, network(1), &limits(), now), Ok(()));
}

/// How many connections `networks` get that all want as many as they can have.
fn fill(crowd: &mut Crowd, networks: u32, limits: &config::Edge) -> Vec<usize> {
    let mut taken = vec![0; networks as usize];
    for _ in 0..crowd.most {
        for (number, taken) in (0..).zip(&mut taken) {
            if !crowd.is_full() && crowd.has_place(network(number), limits) {
                crowd.enter(network(number));
                *taken += 1;
            }
        }
    }
    taken
}

#[test]
fn no_network_fills_all_places() {
    let limits = limits();
    for (networks, most) in [(1, 750), (2, 429), (10, 97)] {
        let mut crowd = Crowd::new(1000, Instant::now());
        let taken = fill(&mut crowd, networks, &limits);
        assert!(taken.iter().all(|taken| *taken <= most), "{taken:?}");
        assert!(crowd.has_place(network(1000), &limits));
    }
}

#[test]
fn without_a_share_a_load_balancer_has_all_places() {
    let limits = config::Edge { network_share: 100, ..limits() };
    let mut crowd = Crowd::new(1000, Instant::now());
    assert_eq!(fill(&mut crowd, 1, &limits), [1000]);
}

#[test]
fn places_that_are_given_back_are_free() {
    let limits = limits();
    let mut crowd = Crowd::new(4, Instant::now());
    for _ in 0..3 {
        assert!(crowd.has_place(network(1), &limits));
        crowd.enter(network(1));
    }
    assert!(!crowd.has_place(network(1), &limits) && crowd.has_place(network(2), &limits));
    crowd.leave(network(1));
    assert!(crowd.has_place(network(1), &limits));
    // Even beyond, for one who has little: a listener that closes resets whom it does not take.
    crowd.enter(network(2));
    crowd.enter(network(3));
    assert!(crowd.is_full() && crowd.has_place(network(1), &limits));
    crowd.leave(network(2));
    crowd.leave(network(3));
    for _ in 0..2 {
        crowd.leave(network(1));
    }
    assert!(crowd.places.is_empty() && crowd.open() == 0);
}

#[test]
fn the_time_for_a_handshake_shrinks_with_the_places_that_are_left() {
    let limit = Duration::from_secs(10);
    let mut crowd = Crowd::new(100, Instant::now());
    assert_eq!(crowd.patience(limit), limit);
    for number in 0..50 {
        crowd.enter(network(number));
    }
    assert_eq!(crowd.patience(limit), limit / 2);
    for number in 50..100 {
        crowd.enter(network(number));
    }
    assert_eq!(crowd.patience(limit), HANDSHAKE_LEAST);
    let short = Duration::from_millis(300);
    assert_eq!(crowd.patience(short), short);
}
