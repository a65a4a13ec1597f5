//! Datagrams of one socket find the process that has their connection.

use std::future::poll_fn;
use std::net::UdpSocket;
use std::time::Duration;

use quinn::ConnectionIdGenerator as _;
use tokio::time::timeout;

use super::*;
use crate::edge::quic::sockets::Numbered;

/// A datagram for a connection of the process with this mark, with a short or a long header.
fn datagram(mark: Mark, long: bool, rest: &[u8]) -> Vec<u8> {
    let id = Numbered(0, mark).generate_cid();
    let head: &[u8] = if long { &[0xc0, 0, 0, 0, 1, 12] } else { &[0x40] };
    [head, &id, rest].concat()
}

/// A socket of the process with this mark, and the way to it.
fn post(socket: &UdpSocket, mark: Mark, former: Vec<Former>) -> (Post, Arc<Gate>, OwnedFd) {
    let (inbox, letters) = descriptors::seqpacket_pair().unwrap();
    let gate = Arc::<Gate>::default();
    let means = Means { mark, gate: Arc::clone(&gate), inbox, former };
    let socket = socket.try_clone().unwrap();
    socket.set_nonblocking(true).unwrap();
    (Post::new(socket, means).unwrap(), gate, letters)
}

/// What is read next: the datagrams, and who sent them. `None` if there is nothing.
async fn read(post: &Post) -> Option<(Vec<Vec<u8>>, RecvMeta)> {
    let mut space = vec![0; 64 * 1024];
    let mut meta = [RecvMeta::default()];
    let reading = poll_fn(|cx| {
        let mut bufs = [IoSliceMut::new(&mut space)];
        post.poll_recv(cx, &mut bufs, &mut meta)
    });
    timeout(Duration::from_millis(500), reading).await.ok()?.unwrap();
    let [meta] = meta;
    let all = space[..meta.len].chunks(meta.stride.max(1)).map(<[u8]>::to_vec).collect();
    Some((all, meta))
}

#[tokio::test]
async fn what_is_for_a_former_process_comes_to_it_and_the_rest_stays() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (old, shut, letters) = post(&socket, [1, 1], Vec::new());
    shut.shut();
    let (new, ..) = post(&socket, [2, 2], vec![Former { mark: [1, 1], letters }]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    // A first packet has an id of the client's own, of whichever length.
    let first = [&[0xc0, 0, 0, 0, 1, 8, 0, 0, 1, 1][..], &[9; 40]].concat();
    for (sent, theirs) in [
        (datagram([1, 1], false, b"one"), true),
        (datagram([1, 1], true, b"two"), true),
        (datagram([2, 2], false, b"three"), false),
        (datagram([7, 7], false, b"of nobody"), false),
        (first, false),
        (b"x".to_vec(), false),
    ] {
        client.send_to(&sent, address).unwrap();
        let (reader, other) = if theirs { (&old, &new) } else { (&new, &old) };
        // Whoever reads passes it on.
        let found = if theirs {
            assert!(read(other).await.is_none(), "{sent:?} is kept");
            read(reader).await
        } else {
            let found = read(reader).await;
            assert!(read(other).await.is_none(), "{sent:?} is passed on");
            found
        };
        let (all, meta) = found.unwrap_or_else(|| panic!("{sent:?} is lost"));
        assert_eq!((all, meta.addr), (vec![sent], client.local_addr().unwrap()));
        assert_eq!(meta.dst_ip.map(|ip| ip.to_canonical()), Some(address.ip()));
    }
}

#[tokio::test]
async fn of_several_that_come_as_one_each_goes_where_it_belongs() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (old, shut, letters) = post(&socket, [1, 1], Vec::new());
    shut.shut();
    let (new, ..) = post(&socket, [2, 2], vec![Former { mark: [1, 1], letters }]);
    let of = |mark, rest: &[u8]| datagram(mark, false, rest);
    let (a, b, c) = (of([1, 1], b"aaaa"), of([2, 2], b"bbbb"), of([1, 1], b"cccc"));
    let (d, short) = (of([2, 2], b"dddd"), of([2, 2], b"e"));
    let mut space = [&a[..], &b, &c, &d, &short].concat();
    let mut meta = [RecvMeta::default()];
    (meta[0].len, meta[0].stride) = (space.len(), a.len());
    let mut bufs = [IoSliceMut::new(&mut space)];
    assert!(new.sort(&mut bufs, &mut meta));
    let kept = meta[0].len;
    assert_eq!(space[..kept], [&b[..], &d, &short].concat());
    for letter in [a, c] {
        assert_eq!(read(&old).await.unwrap().0, [letter]);
    }
}

#[tokio::test]
async fn who_is_gone_is_forgotten_and_a_gate_that_opens_is_noticed() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (old, _gate, letters) = post(&socket, [1, 1], Vec::new());
    let (new, gate, _letters) = post(&socket, [2, 2], vec![Former { mark: [1, 1], letters }]);
    drop(old);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(&datagram([1, 1], false, b"late"), address).unwrap();
    assert!(read(&new).await.is_none());
    assert!(lock(&new.former).is_empty() && !new.sorts.load(Ordering::Relaxed));
    gate.shut();
    client.send_to(&datagram([2, 2], false, b"mine"), address).unwrap();
    assert!(read(&new).await.is_none(), "it is read behind a gate that is shut");
    // Whoever waits is woken, and need not look again by itself.
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    let (mut space, mut meta) = ([0; 2000], [RecvMeta::default()]);
    let mut bufs = [IoSliceMut::new(&mut space)];
    assert!(new.poll_recv(&mut Context::from_waker(&waker), &mut bufs, &mut meta).is_pending());
    assert!(!woken.0.load(Ordering::SeqCst));
    gate.open();
    assert!(woken.0.load(Ordering::SeqCst));
    assert!(read(&new).await.is_some());
}

/// Whether somebody was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_letter_says_all_that_is_known_of_a_datagram_and_nonsense_is_none() {
    let from = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 0, 3);
    let (ecn, dst_ip) = (Some(EcnCodepoint::Ect0), Some("fe80::2".parse().unwrap()));
    let meta = RecvMeta { addr: from.into(), ecn, dst_ip, ..RecvMeta::default() };
    let mut space = [0; QUIC_LETTER];
    let written = postcard::to_slice(&Letter::of(&meta, b"datagram"), &mut space).unwrap();
    let letter: Letter<'_> = postcard::from_bytes(written).unwrap();
    assert_eq!(letter.datagram, b"datagram");
    let read = letter.meta();
    assert_eq!((read.addr, read.dst_ip, read.ecn), (meta.addr, meta.dst_ip, meta.ecn));
    assert_eq!((read.len, read.stride), (8, 8));
    for end in 0..written.len() {
        assert!(postcard::from_bytes::<Letter<'_>>(&written[..end]).is_err(), "{end}");
    }
}
