//! What an upgrade hands over beside HTTPS: services that are no HTTP, and HTTP/3.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::time::Instant;

use h3::error::StreamError;
use http::Request;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::daemon::free_port;
use crate::daemon::runs;
use crate::load;
use crate::origin::Origin;
use crate::quic::Http3;
use crate::quic::answer;
use crate::scene::runtime;

const SOON: Duration = Duration::from_secs(60);

const SITE: &str = "web.internal";
const SERVICE: &str = "mail.internal";

/// A server that echoes, for as long as the test runs.
fn echo() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                use std::io::{Read as _, Write as _};
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let _gone = stream.write_all(&buffer[..count]);
                }
            });
        }
    });
    port
}

/// A keyward with a site and a service, whose CA is its own, and the root of that.
struct Stage {
    keyward: Keyward,
    service: SocketAddr,
    https: SocketAddr,
    root: CertificateDer<'static>,
    _origin: Origin,
}

impl Stage {
    fn new() -> Self {
        let origin = Origin::start();
        let port = free_port();
        let text = format!(
            "[[site]]\nnames = [\"{SITE}\"]\norigin = \"http://{}\"\n\
             [[tcp]]\nnames = [\"{SERVICE}\"]\nlisten = [\"127.0.0.1:{port}\"]\n\
             to = \"127.0.0.1:{}\"\n",
            origin.address,
            echo(),
        );
        let mut keyward = Keyward::new("", &text);
        keyward.start();
        keyward.wait_issued(SITE);
        keyward.wait_issued(SERVICE);
        let root =
            CertificateDer::from_pem_slice(keyward.cli(&["trust", "--print"]).ok().as_bytes());
        let https = SocketAddr::from(([127, 0, 0, 1], keyward.https));
        let service = SocketAddr::from(([127, 0, 0, 1], port));
        Self { keyward, service, https, root: root.unwrap(), _origin: origin }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{SITE}:{}{path}", self.https.port())
    }

    /// Waits until only the present process is left.
    fn alone(&self) {
        eventually("the former processes end", SOON, || {
            let status = self.keyward.cli(&["status", "--json"]).json();
            (!status["notices"].to_string().contains("former process")).then_some(())
        });
    }
}

type Tls = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

async fn say(stream: &mut Tls, text: &str) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{text}: {error}");
    stream.write_all(text.as_bytes()).await.map_err(told)?;
    let mut heard = vec![0; text.len()];
    let reading = timeout(SOON, stream.read_exact(&mut heard)).await;
    reading.map_err(|_| format!("{text}: no answer"))?.map_err(told)?;
    if heard == text.as_bytes() { Ok(()) } else { Err(format!("{text}: heard {heard:?}")) }
}

/// Visits that go on until they are stopped, with all failures and when they were.
struct Visits {
    good: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Visits {
    /// So many at a time, each made by `visit`, which counts what was good.
    fn start<F, T>(count: usize, visit: F) -> Self
    where
        F: Fn(Arc<AtomicUsize>, Arc<AtomicBool>) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = Result<(), String>> + Send,
    {
        let (good, failures) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (stop, begun) = (Arc::<AtomicBool>::default(), Instant::now());
        let visiting = |_| {
            let (good, failures) = (Arc::clone(&good), Arc::clone(&failures));
            let (stop, visit) = (Arc::clone(&stop), visit.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    if let Err(error) = visit(Arc::clone(&good), Arc::clone(&stop)).await {
                        let at = begun.elapsed().as_millis();
                        failures.lock().unwrap().push(format!("after {at} ms: {error}"));
                    }
                }
            })
        };
        let tasks = (0..count).map(visiting).collect();
        Self { good, failures, stop, tasks }
    }

    /// One is begun after the other, whatever became of those before: who waits keeps nobody else
    /// from coming.
    fn arriving<F, T>(pause: Duration, visit: F) -> Self
    where
        F: Fn(Arc<AtomicUsize>, Arc<AtomicBool>) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self::start(1, move |good, stop| {
            let visit = visit.clone();
            async move {
                let mut all = JoinSet::new();
                while !stop.load(Ordering::SeqCst) {
                    let (visit, good, stop) = (visit.clone(), Arc::clone(&good), Arc::clone(&stop));
                    all.spawn(async move { visit(good, stop).await });
                    tokio::time::sleep(pause).await;
                }
                let ended = all.join_all().await;
                let failures: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
                if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
            }
        })
    }

    async fn progress(&self, more: usize) {
        let (goal, begun) = (self.good.load(Ordering::SeqCst) + more, Instant::now());
        while self.good.load(Ordering::SeqCst) < goal {
            let failures = self.failures.lock().unwrap().clone();
            assert!(begun.elapsed() < SOON && failures.is_empty(), "no progress: {failures:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many were good; none has failed.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        assert_eq!(*self.failures.lock().unwrap(), Vec::<String>::new());
        self.good.load(Ordering::SeqCst)
    }
}

#[test]
fn a_connection_to_a_service_outlives_upgrades_and_no_new_one_is_refused() {
    let mut stage = Stage::new();
    let runtime = runtime();
    let _inside = runtime.enter();
    let config = load::client_config(&stage.root, &[]);
    let service = stage.service;
    let mut stays = runtime.block_on(load::connect(&config, service, SERVICE)).unwrap();
    runtime.block_on(say(&mut stays, "before")).unwrap();
    let visits = Visits::arriving(Duration::from_millis(50), {
        let config = Arc::clone(&config);
        move |good, _| {
            let config = Arc::clone(&config);
            async move {
                let stream = load::connect(&config, service, SERVICE).await;
                let mut stream = stream.map_err(|error| format!("connect: {error}"))?;
                say(&mut stream, "hello").await?;
                good.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        }
    });
    for round in 0..2 {
        runtime.block_on(visits.progress(20));
        stage.keyward.upgrade();
        runtime.block_on(say(&mut stays, &format!("after {round}"))).unwrap();
        runtime.block_on(visits.progress(20));
        // It is the new process that has them.
        let status = stage.keyward.cli(&["status", "--json"]).json();
        assert!(status["edge"]["tcp.connections"].as_u64().unwrap() >= 15, "{status:#}");
        assert!(status["notices"].to_string().contains("finish"), "{status:#}");
    }
    println!("{} connections were good", runtime.block_on(visits.stop()));
    drop(stays);
    stage.alone();
}

/// Asks as a client should: on a connection that ends in order it asks again on a new one.
async fn ask(
    client: &mut Option<Http3>,
    (root, address): (&CertificateDer<'static>, SocketAddr),
    url: &str,
) -> Result<String, String> {
    for _ in 0..3 {
        if client.is_none() {
            let connecting = timeout(SOON, Http3::connect(root, address, SITE)).await;
            let connected = connecting.map_err(|_| "connect: no answer".to_owned())?;
            *client = Some(connected.map_err(|error| format!("connect: {error:?}"))?);
        }
        let asked = match client.as_mut() {
            Some(client) => client.get(url).await,
            None => continue,
        };
        match asked {
            Ok((response, body)) if response.status() == 200 => return Ok(body),
            Ok((response, body)) => return Err(format!("{}: {body}", response.status())),
            Err(error)
                if error.is_h3_no_error() || matches!(error, StreamError::RemoteClosing { .. }) =>
            {
                *client = None;
            }
            Err(error) => return Err(format!("{error:?}")),
        }
    }
    Err("three connections ended before there was an answer".to_owned())
}

#[test]
fn clients_of_http3_come_to_the_new_process_at_once_and_what_is_open_ends_well() {
    let mut stage = Stage::new();
    let runtime = runtime();
    let _inside = runtime.enter();
    let (root, https) = (stage.root.clone(), stage.https);
    // An answer and a request that go on over two upgrades, and a client that is idle.
    let mut drip = runtime.block_on(Http3::connect(&root, https, SITE)).unwrap();
    let request = Request::get(stage.url("/drip/120/100")).body(()).unwrap();
    let stream = runtime.block_on(drip.begin(request, false)).unwrap();
    let dripping = runtime.spawn(answer(stream));
    let mut held = runtime.block_on(Http3::connect(&root, https, SITE)).unwrap();
    let piece = bytes::Bytes::from(vec![7; 100_000]);
    let mut upload = runtime.block_on(async {
        let request = Request::post(stage.url("/count")).body(()).unwrap();
        let mut upload = held.begin(request, true).await.unwrap();
        upload.send_data(piece.clone()).await.unwrap();
        upload
    });
    let idle = runtime.block_on(async {
        let mut client = Http3::connect(&root, https, SITE).await.unwrap();
        client.get(&stage.url("/head")).await.unwrap();
        client
    });
    let visits = Visits::start(3, {
        let (root, url) = (root.clone(), stage.url("/head"));
        move |good, stop| {
            let (root, url) = (root.clone(), url.clone());
            async move {
                let mut client = None;
                while !stop.load(Ordering::SeqCst) {
                    ask(&mut client, (&root, https), &url).await?;
                    good.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            }
        }
    });
    for _ in 0..2 {
        runtime.block_on(visits.progress(30));
        stage.keyward.upgrade();
        // Somebody new is served while the former process has its own.
        let url = stage.url("/head");
        runtime.block_on(ask(&mut None, (&root, https), &url)).unwrap();
        runtime.block_on(visits.progress(30));
        let status = stage.keyward.cli(&["status", "--json"]).json();
        assert!(status["edge"]["http3.requests"].as_u64().unwrap() >= 10, "{status:#}");
        assert!(status["notices"].to_string().contains("finish"), "{status:#}");
        let told = stage.keyward.cli(&["status"]).ok();
        assert!(told.contains(&format!("http3 on {https}")), "{told}");
    }
    println!("{} requests were good", runtime.block_on(visits.stop()));
    // Whoever had nothing open was told to go.
    let ended = runtime.block_on(idle.ended());
    let quinn::ConnectionError::ApplicationClosed(closed) = &ended else { panic!("{ended:?}") };
    assert_eq!(closed.error_code.into_inner(), 0x100, "{closed:?}");
    let (response, body) = runtime.block_on(dripping).unwrap().unwrap();
    assert_eq!((response.status().as_u16(), body.len()), (200, 120));
    let (response, body) = runtime.block_on(async {
        upload.send_data(piece).await.unwrap();
        upload.finish().await.unwrap();
        answer(upload).await.unwrap()
    });
    assert_eq!((response.status().as_u16(), body.as_str()), (200, "200000"));
    stage.alone();
}

/// The new process gets as far as it can: to the store, which its master key does not fit.
#[test]
fn an_upgrade_that_fails_late_leaves_services_and_http3_as_they_were() {
    let stage = Stage::new();
    let runtime = runtime();
    let _inside = runtime.enter();
    let config = load::client_config(&stage.root, &[]);
    let mut stays = runtime.block_on(load::connect(&config, stage.service, SERVICE)).unwrap();
    let (url, at) = (stage.url("/head"), (&stage.root, stage.https));
    let mut client = None;
    runtime.block_on(ask(&mut client, at, &url)).unwrap();
    let key = stage.keyward.state().join("vault/master.key");
    std::fs::remove_file(&key).unwrap();
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o400)).unwrap();
    let said = stage.keyward.cli(&["upgrade"]);
    assert!(said.err.contains("the master key is another one"), "{said:?}");
    runtime.block_on(async {
        say(&mut stays, "still here").await.unwrap();
        let mut fresh = load::connect(&config, stage.service, SERVICE).await.unwrap();
        say(&mut fresh, "and new").await.unwrap();
        // On the connection that there was.
        let asked = client.as_mut().unwrap().get(&url).await.unwrap();
        assert_eq!(asked.0.status(), 200);
        ask(&mut None, at, &url).await.unwrap();
    });
}

/// Until somebody starts another one, its connections are all that there is.
#[test]
fn a_former_process_reads_again_for_its_connections_when_its_successor_is_killed() {
    let mut stage = Stage::new();
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut client = runtime.block_on(Http3::connect(&stage.root, stage.https, SITE)).unwrap();
    let piece = bytes::Bytes::from(vec![7; 100_000]);
    let mut upload = runtime.block_on(async {
        let request = Request::post(stage.url("/count")).body(()).unwrap();
        let mut upload = client.begin(request, true).await.unwrap();
        upload.send_data(piece.clone()).await.unwrap();
        upload
    });
    stage.keyward.upgrade();
    let heir = stage.keyward.pid();
    stage.keyward.signal(nix::sys::signal::Signal::SIGKILL);
    eventually("it is gone", SOON, || (!runs(heir)).then_some(()));
    let (response, body) = runtime.block_on(async {
        upload.send_data(piece).await.unwrap();
        upload.finish().await.unwrap();
        answer(upload).await.unwrap()
    });
    assert_eq!((response.status().as_u16(), body.as_str()), (200, "200000"));
}

/// Nobody else reads for it, whatever the one that follows wants for itself.
#[test]
fn a_former_process_keeps_its_clients_when_http3_is_turned_off_or_its_successor_stops() {
    for stops in [false, true] {
        let mut stage = Stage::new();
        let runtime = runtime();
        let _inside = runtime.enter();
        let mut client = runtime.block_on(Http3::connect(&stage.root, stage.https, SITE)).unwrap();
        let piece = bytes::Bytes::from(vec![7; 100_000]);
        let mut upload = runtime.block_on(async {
            let request = Request::post(stage.url("/count")).body(()).unwrap();
            let mut upload = client.begin(request, true).await.unwrap();
            upload.send_data(piece.clone()).await.unwrap();
            upload
        });
        stage.keyward.upgrade();
        if stops {
            stage.keyward.signal(nix::sys::signal::Signal::SIGTERM);
        } else {
            stage.keyward.edit("[log]", "[edge]\nhttp3 = false\n\n[log]");
            stage.keyward.cli(&["reload"]).ok();
            let told = stage.keyward.cli(&["status"]).ok();
            assert!(!told.contains("http3 on "), "{told}");
            let visit = Http3::connect(&stage.root, stage.https, SITE);
            let visit = runtime.block_on(async { timeout(Duration::from_secs(3), visit).await });
            assert!(!matches!(visit, Ok(Ok(_))), "somebody new is served");
        }
        std::thread::sleep(Duration::from_secs(2));
        let (response, body) = runtime.block_on(async {
            upload.send_data(piece).await.unwrap();
            upload.finish().await.unwrap();
            answer(upload).await.unwrap()
        });
        let told = (response.status().as_u16(), body.as_str());
        assert_eq!(told, (200, "200000"), "stops: {stops}");
        if !stops {
            stage.alone();
        }
    }
}
