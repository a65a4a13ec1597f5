//! A client of HTTP/3: quinn and h3, as others use them.
#![allow(dead_code, reason = "each target uses a part of the kit")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3::error::StreamError;
use h3_quinn::{BidiStream, OpenStreams};
use http::{Request, Response};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint, TransportConfig};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use crate::load;

/// A connection, while it lasts.
pub(crate) struct Http3 {
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: quinn::Connection,
    pub(crate) sender: SendRequest<OpenStreams, Bytes>,
    driver: tokio::task::JoinHandle<h3::error::ConnectionError>,
}

pub(crate) type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

/// An endpoint on a port of its own.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// What a client that trusts `root` begins with.
pub(crate) fn config(root: &CertificateDer<'static>, alpn: &[&[u8]]) -> ClientConfig {
    over(load::client_config(root, alpn))
}

/// The same under `tls`.
pub(crate) fn over(tls: Arc<rustls::ClientConfig>) -> ClientConfig {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(20).try_into().unwrap()));
    config.transport_config(Arc::new(transport));
    config
}

impl Http3 {
    /// Shakes hands with `address` as `name`.
    pub(crate) async fn connect(
        root: &CertificateDer<'static>,
        address: SocketAddr,
        name: &str,
    ) -> Result<Self, ConnectionError> {
        Self::on(endpoint(), config(root, &[b"h3"]), address, name).await
    }

    pub(crate) async fn on(
        endpoint: Endpoint,
        config: ClientConfig,
        address: SocketAddr,
        name: &str,
    ) -> Result<Self, ConnectionError> {
        let connection = endpoint.connect_with(config, address, name).unwrap().await?;
        let link = h3_quinn::Connection::new(connection.clone());
        let (mut driver, sender) = h3::client::new(link).await.unwrap();
        let driver = tokio::task::spawn(async move { driver.wait_idle().await });
        Ok(Self { endpoint, connection, sender, driver })
    }

    /// Sends the head of a request and, unless `more` follows, its end.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        more: bool,
    ) -> Result<Stream, StreamError> {
        let mut stream = self.sender.send_request(request).await?;
        if !more {
            stream.finish().await?;
        }
        Ok(stream)
    }

    /// Asks for `url`; status, fields and body of the answer.
    pub(crate) async fn get(&mut self, url: &str) -> Result<(Response<()>, String), StreamError> {
        let stream = self.begin(Request::get(url).body(()).unwrap(), false).await?;
        answer(stream).await
    }

    /// Sends `body` in pieces to `url`.
    pub(crate) async fn post(
        &mut self,
        request: Request<()>,
        body: &[Bytes],
    ) -> Result<(Response<()>, String), StreamError> {
        let mut stream = self.begin(request, true).await?;
        for piece in body {
            stream.send_data(piece.clone()).await?;
        }
        stream.finish().await?;
        answer(stream).await
    }

    /// How the connection ended, which it must within ten seconds.
    pub(crate) async fn ended(&self) -> ConnectionError {
        timeout(Duration::from_secs(10), self.connection.closed()).await.expect("it ends")
    }
}

impl Drop for Http3 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The whole answer, which must come within twenty seconds.
pub(crate) async fn answer(mut stream: Stream) -> Result<(Response<()>, String), StreamError> {
    let reading = async {
        let response = stream.recv_response().await?;
        let mut body = Vec::new();
        while let Some(mut piece) = stream.recv_data().await? {
            body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
        }
        Ok((response, String::from_utf8_lossy(&body).into_owned()))
    };
    timeout(Duration::from_secs(20), reading).await.expect("it is answered")
}
