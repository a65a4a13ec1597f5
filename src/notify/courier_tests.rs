//! One courier, step by step, with a clock of its own and a service on the loopback interface.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::*;
use crate::base::clock::Clock as _;
use crate::base::clock::ManualClock;
use crate::config::Digest;
use crate::config::Form;
use crate::config::Place;
use crate::config::Webhook;

/// Takes what is posted, or not.
struct Service {
    url: String,
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (status, got) = (Arc::new(AtomicU16::new(200)), Arc::<Mutex<Vec<Value>>>::default());
        let (answered, taken) = (Arc::clone(&status), Arc::clone(&got));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = Vec::new();
                let body = loop {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).unwrap();
                    bytes.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| {
                        let (name, value) = line.split_once(':')?;
                        name.eq_ignore_ascii_case("content-length").then(|| value.trim().to_owned())
                    });
                    if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                        break body.to_owned();
                    }
                };
                let status = answered.load(Ordering::SeqCst);
                if status == 200 {
                    taken.lock().unwrap().push(serde_json::from_str(&body).unwrap());
                }
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { url, status, got }
    }

    /// The numbers of the news in each message that was taken since.
    fn taken(&self) -> Vec<Vec<u64>> {
        let all = std::mem::take(&mut *self.got.lock().unwrap());
        let numbers = |message: &Value| {
            let news = message["news"].as_array().unwrap();
            news.iter().map(|one| one["seq"].as_u64().unwrap()).collect()
        };
        all.iter().map(numbers).collect()
    }
}

struct Scene {
    clock: Arc<ManualClock>,
    news: News,
    service: Service,
    channel: Channel,
    hand: Hand,
    _dir: tempfile::TempDir,
    _configs: watch::Sender<Arc<Config>>,
}

const START: u64 = 1_800_000_000;

impl Scene {
    fn new(digest: Option<Digest>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix(START)));
        let service = Service::start();
        let way = Way::Webhook(Webhook {
            url: Place::Url(service.url.clone()),
            form: Form::Json,
            secret: None,
            chat: None,
            ca: None,
        });
        let channel = Channel {
            name: "ops".to_owned(),
            way,
            level: Level::Info,
            events: Vec::new(),
            about: Vec::new(),
            quiet: None,
            digest,
            zone: Some("UTC".to_owned()),
        };
        let none = std::iter::empty::<(String, String)>();
        let config = crate::config::parse("", std::path::Path::new("x"), none).unwrap().config;
        let (sender, configs) = watch::channel(Arc::new(config));
        let news = News {
            clock: clock.clone(),
            store,
            configs,
            jitter: Jitter::seeded(1),
            host: "box".to_owned(),
            told: watch::Sender::new(0),
        };
        let hand = Hand::default();
        Self { clock, news, service, channel, hand, _dir: dir, _configs: sender }
    }

    fn pass(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(seconds)));
    }

    async fn happens(&self, numbers: std::ops::RangeInclusive<u64>, level: Level) {
        let upto = *numbers.end();
        let at = self.clock.now();
        let entry = |seq| {
            let told = format!("number {seq} {}", "x".repeat(40));
            let entry = Entry::about_house(at, EntryKind::Failed, level, told);
            ("ops".to_owned(), Entry { seq, ..entry })
        };
        self.news.store.sort(upto, numbers.map(entry).collect()).await.unwrap();
    }

    /// One step; how many seconds nothing else is due.
    async fn step(&mut self) -> Option<u64> {
        let pause = self.news.step(&self.channel, &mut self.hand).await.unwrap();
        pause.map(|pause| pause.as_secs())
    }

    async fn state(&self) -> Waiting {
        self.news.store.channel("ops").await.unwrap()
    }

    async fn journal(&self) -> Vec<EntryKind> {
        let entries = self.news.store.journal(0, 100).await.unwrap();
        entries.iter().map(|entry| entry.kind).collect()
    }
}

fn all(numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}

#[tokio::test]
async fn many_news_are_a_few_messages_with_pauses_between() {
    let mut scene = Scene::new(None);
    assert_eq!(scene.step().await, None);
    scene.happens(1..=60, Level::Warning).await;
    assert_eq!(scene.step().await, Some(PAUSE.as_secs()));
    // Too early.
    assert_eq!(scene.step().await, Some(PAUSE.as_secs()));
    scene.pass(PAUSE.as_secs());
    scene.step().await;
    scene.pass(PAUSE.as_secs());
    scene.step().await;
    assert_eq!(scene.service.taken(), [all(1..=25), all(26..=50), all(51..=60)]);
    let Waiting { count, state } = scene.state().await;
    assert_eq!((count, state.told, state.lost, state.failures), (0, 60, 0, 0));
}

#[tokio::test]
async fn what_is_not_taken_is_tried_as_it_was_until_it_is() {
    let mut scene = Scene::new(None);
    scene.service.status.store(503, Ordering::SeqCst);
    scene.happens(1..=2, Level::Warning).await;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let pause = scene.step().await.unwrap();
        pauses.push(pause);
        // More of it happens meanwhile, and is no part of what is tried.
        scene.happens(3..=4, Level::Warning).await;
        scene.pass(pause);
    }
    // Doubled each time, less a quarter at most, and bounded.
    for (number, pause) in pauses.iter().enumerate() {
        let whole = (RETRY_FIRST.as_secs() << number).min(RETRY_MOST.as_secs());
        assert!(*pause <= whole && *pause >= whole * 3 / 4 - 1, "{pauses:?}");
    }
    let Waiting { count, state } = scene.state().await;
    assert_eq!((count, state.failures), (4, 8));
    assert_eq!(state.failing_since, Some(Timestamp::from_unix(START)));
    assert_eq!(state.reason.as_deref(), Some("the answer is 503"));
    assert_eq!(scene.journal().await, [EntryKind::NewsFailed]);
    scene.service.status.store(200, Ordering::SeqCst);
    scene.step().await;
    assert_eq!(scene.service.taken(), [all(1..=2)]);
    assert_eq!(scene.journal().await, [EntryKind::NewsFailed, EntryKind::NewsDelivered]);
    scene.pass(PAUSE.as_secs());
    scene.step().await;
    assert_eq!(scene.service.taken(), [all(3..=4)]);
}

#[tokio::test]
async fn what_nobody_took_for_days_is_given_up_and_that_is_told() {
    let mut scene = Scene::new(None);
    scene.service.status.store(500, Ordering::SeqCst);
    scene.happens(1..=2, Level::Warning).await;
    scene.step().await;
    scene.pass(KEPT.as_secs() - 5);
    scene.step().await;
    assert_eq!(scene.state().await.count, 2);
    scene.pass(60);
    scene.step().await;
    let Waiting { count, state } = scene.state().await;
    assert_eq!((count, state.lost, state.told), (0, 2, 0));
    scene.service.status.store(200, Ordering::SeqCst);
    scene.happens(3..=3, Level::Warning).await;
    scene.pass(RETRY_MOST.as_secs());
    scene.step().await;
    let message = scene.service.got.lock().unwrap().remove(0);
    assert_eq!(message["lost"], 2);
    assert!(message["text"].as_str().unwrap().contains("2 older news"), "{message}");
    assert_eq!(scene.state().await.state.lost, 0, "it was told that they are");
}

#[tokio::test]
async fn a_digest_waits_for_its_time_and_errors_do_not() {
    let mut scene = Scene::new(Some(Digest::Every(Duration::from_secs(3600))));
    scene.happens(1..=20, Level::Warning).await;
    assert_eq!(scene.step().await, Some(3600));
    scene.pass(1800);
    scene.happens(21..=40, Level::Info).await;
    scene.happens(41..=41, Level::Error).await;
    scene.step().await;
    assert_eq!(scene.service.taken(), [vec![41]]);
    scene.pass(PAUSE.as_secs());
    assert_eq!(scene.step().await, Some(1800 - PAUSE.as_secs()));
    scene.pass(1800);
    // All of it, what came half an hour later as well, in as many messages as it takes.
    scene.step().await;
    scene.pass(PAUSE.as_secs());
    scene.step().await;
    assert_eq!(scene.service.taken(), [all(1..=25), all(26..=40)]);
}

#[tokio::test]
async fn a_clock_that_is_put_back_keeps_nobody_waiting() {
    let mut scene = Scene::new(None);
    scene.happens(1..=1, Level::Warning).await;
    scene.step().await;
    scene.clock.set(Timestamp::from_unix(START - 1_000_000));
    scene.happens(2..=2, Level::Warning).await;
    scene.step().await;
    // It happened before, or so it looks; and something that has yet to happen.
    assert_eq!(scene.service.taken(), [vec![1], vec![2]]);
}

#[test]
fn a_message_is_as_long_as_its_service_takes() {
    let zone = TimeZone::UTC;
    let at = Timestamp::from_unix(START);
    let entry = |seq| {
        let told = "y".repeat(300);
        Entry { seq, ..Entry::about_house(at, EntryKind::Failed, Level::Info, told) }
    };
    let mut news: Vec<Entry> = (1..=25).map(entry).collect();
    let mut scene_channel = Channel {
        name: "ops".to_owned(),
        way: Way::Webhook(Webhook {
            url: Place::Url(String::new()),
            form: Form::Discord,
            secret: None,
            chat: None,
            ca: None,
        }),
        level: Level::Info,
        events: Vec::new(),
        about: Vec::new(),
        quiet: None,
        digest: None,
        zone: None,
    };
    let empty = Letter { host: "box", channel: "ops", news: &[], lost: 0, zone: &zone };
    shorten(&scene_channel, &empty, &mut news);
    assert_eq!(news.len(), 5);
    if let Way::Webhook(hook) = &mut scene_channel.way {
        hook.form = Form::Json;
    }
    let mut news: Vec<Entry> = (1..=25).map(entry).collect();
    shorten(&scene_channel, &empty, &mut news);
    assert_eq!(news.len(), 25);
}
