//! Calls of gRPC through the edge, to a server and from a client that are tonic's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyward::config;
use keyward::config::{Address, Origin as Behind};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::Streaming;
use tonic::body::Body;
use tonic::client::Grpc as Caller;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc as Callee;

use crate::house::{House, limits, site};

/// Messages that are texts, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let mut bytes = vec![0; src.remaining()];
        src.copy_to_slice(&mut bytes);
        String::from_utf8(bytes).map(Some).map_err(|_| Status::internal("no text"))
    }
}

type Answer<T> = Result<tonic::Response<T>, Status>;
type Texts = std::pin::Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

async fn echo(request: tonic::Request<String>) -> Answer<String> {
    let told = request.metadata().get("x-asked").map(|v| v.to_str().unwrap().to_owned());
    let text = request.into_inner();
    if text == "refuse" {
        return Err(Status::failed_precondition("it was told to"));
    }
    let mut response = tonic::Response::new(format!("{text} {}", told.unwrap_or_default()));
    response.metadata_mut().insert("x-answered", "yes".parse().unwrap());
    Ok(response)
}

/// So many texts, and then a failure, if the last number is one.
async fn count(request: tonic::Request<String>) -> Answer<Texts> {
    let count: usize = request.into_inner().parse().unwrap();
    let last = (count % 2 == 1).then(|| Err(Status::data_loss("odd")));
    let texts = (0..count).map(|number| Ok(number.to_string())).chain(last);
    Ok(tonic::Response::new(Box::pin(stream::iter(texts))))
}

async fn join(request: tonic::Request<Streaming<String>>) -> Answer<String> {
    let texts: Vec<String> = request.into_inner().map(|text| text.unwrap()).collect().await;
    Ok(tonic::Response::new(texts.join(",")))
}

/// Answers each text as it comes, from the first on; "quiet" is not answered.
async fn talk(request: tonic::Request<Streaming<String>>) -> Answer<Texts> {
    let heard = request.into_inner();
    let answers = heard.filter_map(|text| async move {
        match text {
            Ok(text) if text == "quiet" => None,
            Ok(text) => Some(Ok(format!("you said {text}"))),
            Err(status) => Some(Err(status)),
        }
    });
    Ok(tonic::Response::new(Box::pin(answers)))
}

/// Texts without end, of a server that hears nothing more.
async fn tick(_: tonic::Request<Streaming<String>>) -> Answer<Texts> {
    let ticks = stream::unfold(0, |number| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok(number.to_string()), number + 1))
    });
    Ok(tonic::Response::new(Box::pin(ticks)))
}

async fn serve(request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    let mut callee = Callee::new(Text);
    Ok(match request.uri().path() {
        "/t.T/Echo" => callee.unary(tower::service_fn(echo), request).await,
        "/t.T/Count" => callee.server_streaming(tower::service_fn(count), request).await,
        "/t.T/Join" => callee.client_streaming(tower::service_fn(join), request).await,
        "/t.T/Talk" => callee.streaming(tower::service_fn(talk), request).await,
        "/t.T/Tick" => callee.streaming(tower::service_fn(tick), request).await,
        _ => Status::unimplemented("no such method").into_http(),
    })
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let io = TokioIo::new(stream);
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(io, service_fn(serve)));
        }
    });
    address
}

fn behind(address: SocketAddr) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    site.origin = Behind::several([Address::H2c(address.to_string().parse().unwrap())]);
    site
}

/// A client of the house.
async fn caller(
    house: &House,
) -> Caller<
    impl tonic::client::GrpcService<Body, ResponseBody = Incoming, Error = hyper::Error> + Clone,
> {
    let config = crate::load::client_config(&house.ca.root(), &[b"h2"]);
    let stream = crate::load::connect(&config, house.https, "a.example").await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, Body>(
        TokioExecutor::new(),
        TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    Caller::with_origin(service, "https://a.example".parse().unwrap())
}

fn path(name: &str) -> http::uri::PathAndQuery {
    format!("/t.T/{name}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_all_four_kinds_pass() {
    let house = House::open(vec![behind(server().await)], limits());
    let mut caller = caller(&house).await;
    caller.ready().await.unwrap();
    let mut request = tonic::Request::new("hello".to_owned());
    request.metadata_mut().insert("x-asked", "kindly".parse().unwrap());
    let response = caller.unary(request, path("Echo"), Text).await.unwrap();
    assert_eq!(response.metadata().get("x-answered").unwrap(), "yes");
    assert_eq!(response.metadata().get("grpc-status").unwrap(), "0");
    assert_eq!(response.into_inner(), "hello kindly");

    let texts =
        caller.server_streaming(tonic::Request::new("1000".to_owned()), path("Count"), Text);
    let texts: Vec<_> = texts.await.unwrap().into_inner().collect().await;
    assert!(texts.iter().all(Result::is_ok));
    assert_eq!((texts.len(), texts[999].as_ref().unwrap().as_str()), (1000, "999"));

    let asked = stream::iter((0..1000).map(|number| number.to_string()));
    let joined = caller.client_streaming(tonic::Request::new(asked), path("Join"), Text).await;
    assert_eq!(joined.unwrap().into_inner().split(',').count(), 1000);

    let asked = stream::iter(["a", "b"].map(str::to_owned));
    let answers = caller.streaming(tonic::Request::new(asked), path("Talk"), Text).await.unwrap();
    let answers: Vec<_> = answers.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(answers, ["you said a", "you said b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_of_a_failure_arrives_with_or_without_a_body_before_it() {
    let house = House::open(vec![behind(server().await)], limits());
    let mut caller = caller(&house).await;
    caller.ready().await.unwrap();
    // Trailers only.
    let refused = caller.unary(tonic::Request::new("refuse".to_owned()), path("Echo"), Text).await;
    let status = refused.unwrap_err();
    let said = (status.code(), status.message());
    assert_eq!(said, (tonic::Code::FailedPrecondition, "it was told to"));
    let none = caller.unary(tonic::Request::new(String::new()), path("None"), Text).await;
    assert_eq!(none.unwrap_err().code(), tonic::Code::Unimplemented);
    // Behind three messages.
    let texts = caller.server_streaming(tonic::Request::new("3".to_owned()), path("Count"), Text);
    let mut texts: Vec<_> = texts.await.unwrap().into_inner().collect().await;
    assert_eq!(texts.pop().unwrap().unwrap_err().code(), tonic::Code::DataLoss);
    assert_eq!(texts.into_iter().map(Result::unwrap).collect::<String>(), "012");
}

fn texts(heard: mpsc::Receiver<String>) -> impl Stream<Item = String> + Send + 'static {
    stream::unfold(heard, |mut heard| async move { heard.recv().await.map(|text| (text, heard)) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_while_the_client_still_asks_for_as_long_as_either_moves() {
    let mut quick = limits();
    quick.body_timeout = Duration::from_millis(800);
    quick.response_timeout = Duration::from_millis(800);
    let house = House::open(vec![behind(server().await)], quick);
    let mut caller = caller(&house).await;
    caller.ready().await.unwrap();
    let (say, heard) = mpsc::channel(1);
    say.send("first".to_owned()).await.unwrap();
    let answers = caller.streaming(tonic::Request::new(texts(heard)), path("Talk"), Text).await;
    let mut answers = answers.unwrap().into_inner();
    assert_eq!(answers.next().await.unwrap().unwrap(), "you said first");
    say.send("second".to_owned()).await.unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap(), "you said second");
    // The client alone speaks, for longer than anything may stand still.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        say.send("quiet".to_owned()).await.unwrap();
    }
    say.send("third".to_owned()).await.unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap(), "you said third");
    // Nobody does.
    let ended = tokio::time::timeout(Duration::from_secs(10), answers.next()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");

    // The server alone speaks.
    let (say, heard) = mpsc::channel(1);
    say.send("go on".to_owned()).await.unwrap();
    let ticks = caller.streaming(tonic::Request::new(texts(heard)), path("Tick"), Text).await;
    let mut ticks = ticks.unwrap().into_inner();
    for number in 0..25 {
        assert_eq!(ticks.next().await.unwrap().unwrap(), number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_the_edge_are_ones_that_a_caller_reads() {
    let nowhere = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let house = House::open(vec![behind(nowhere)], limits());
    let mut caller = caller(&house).await;
    caller.ready().await.unwrap();
    let failed = caller.unary(tonic::Request::new("hello".to_owned()), path("Echo"), Text).await;
    let status = failed.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "the server behind this site gives no proper answer");
    assert!(status.metadata().contains_key("strict-transport-security"), "{status:?}");
    // Who does not call gets what everybody gets.
    let url = house.url("a.example", "/");
    let answer = house.curl("a.example", &["--http2", "-i", "-d", "x", &url]);
    assert!(answer.starts_with("HTTP/2 502"), "{answer}");
}
