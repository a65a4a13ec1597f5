//! A client's connection whose records become the kernel's business once it carries much.
//!
//! rustls shakes hands and speaks first. It gives its keys away only at the price of the whole
//! connection, so that may cost nothing: nothing of it may be under way in either direction, which
//! is why the client's records are measured on their way to rustls. Whatever the kernel refuses is
//! refused before.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ConnectionTrafficSecrets;
use rustls::ProtocolVersion;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::guard::Farewell;
use super::kernel::Kernel;
use super::meter::Measured;
use super::stats::Counters;
use crate::base::bounds::KERNEL_TLS_AFTER;
use crate::os::ktls;
use crate::os::ktls::Keys;
use crate::os::ktls::Suite;
use crate::os::ktls::Suites;

/// The stream.
#[derive(Debug)]
pub(super) struct BulkStream {
    io: Io,
    /// What the kernel can do, until it was asked to.
    offered: Suites,
    counters: Arc<Counters>,
    sent: u64,
    /// Nothing was read since something was last written: no answer of rustls's own to anything
    /// waits for what is written next.
    quiet: bool,
}

#[derive(Debug)]
enum Io {
    Rustls(Box<TlsStream<Measured>>),
    Kernel(Kernel),
    /// It was lost on the way from one to the other.
    Gone,
}

impl BulkStream {
    /// `offered` are to be used, and rustls was told to give the keys away.
    pub(super) fn new(
        stream: Box<TlsStream<Measured>>,
        offered: Suites,
        counters: Arc<Counters>,
    ) -> Self {
        Self { io: Io::Rustls(stream), offered, counters, sent: 0, quiet: false }
    }

    fn wrote(&mut self, written: usize) -> io::Result<()> {
        self.sent = self.sent.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        match &mut self.io {
            Io::Kernel(kernel) => kernel.count(written),
            Io::Rustls(_) => {
                self.quiet = written > 0;
                self.go_over()?;
            }
            Io::Gone => {}
        }
        Ok(())
    }

    /// Goes over, if it is time and nothing stands in the way.
    fn go_over(&mut self) -> io::Result<()> {
        if self.sent < KERNEL_TLS_AFTER || !self.offered.any() || !self.quiet {
            return Ok(());
        }
        let Io::Rustls(stream) = &mut self.io else { return Ok(()) };
        let (measured, session) = stream.get_mut();
        if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            self.offered = Suites::default();
            return Ok(());
        }
        let whole = measured.meter.between_records() && !measured.held.waits();
        if !whole || session.wants_write() {
            return Ok(());
        }
        // What rustls has against what came, whoever reads next shall hear.
        let Ok(state) = session.process_new_packets() else { return Ok(()) };
        if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() || session.wants_write() {
            return Ok(());
        }
        let offered = std::mem::take(&mut self.offered);
        let suite = session.negotiated_cipher_suite().and_then(|suite| kernel_suite(suite.suite()));
        if !suite.is_some_and(|suite| offered.have(suite)) {
            return Ok(());
        }
        if let Err(error) = ktls::attach(&measured.socket) {
            self.counters.kernel_tls_refused.up();
            tracing::debug!(reason = %error, "the kernel does not take a connection");
            return Ok(());
        }
        // From here on there is no way back.
        let Io::Rustls(stream) = std::mem::replace(&mut self.io, Io::Gone) else { return Ok(()) };
        let (Measured { socket, .. }, session) = stream.into_inner();
        let secrets = session.dangerous_extract_secrets().map_err(io::Error::other)?;
        let (send, receive) = (keys(&secrets.tx), keys(&secrets.rx));
        let (Some(send), Some(receive)) = (send, receive) else {
            return Err(io::Error::other("a suite that the kernel does not know"));
        };
        let kernel = Kernel::take(socket, &send, &receive);
        let counters = &self.counters;
        self.io = Io::Kernel(kernel.inspect_err(|_| counters.kernel_tls_refused.up())?);
        counters.kernel_tls.up();
        Ok(())
    }
}

/// Whether rustls has nothing for whoever reads next.
pub(super) fn is_silent(session: &mut ServerConnection) -> bool {
    let state = session.process_new_packets();
    state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed())
}

const fn kernel_suite(suite: rustls::CipherSuite) -> Option<Suite> {
    match suite {
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Suite::Aes128),
        rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Suite::Aes256),
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Suite::ChaCha20),
        _ => None,
    }
}

fn keys((sequence, secrets): &(u64, ConnectionTrafficSecrets)) -> Option<Keys<'_>> {
    let (suite, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Suite::ChaCha20, key, iv),
        _ => return None,
    };
    let iv = iv.as_ref().first_chunk()?;
    Some(Keys { suite, key: key.as_ref(), iv, sequence: *sequence })
}

impl Farewell for BulkStream {
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Rustls(stream) => {
                stream.get_mut().0.closes = true;
                let told = ready!(Pin::new(&mut *stream).poll_shutdown(cx));
                stream.get_mut().0.closes = false;
                Poll::Ready(told)
            }
            Io::Kernel(kernel) => kernel.poll_farewell(cx),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.io {
            Io::Rustls(stream) => {
                let (measured, session) = stream.get_mut();
                if is_silent(session) { measured.socket.poll_heard(cx) } else { Poll::Ready(()) }
            }
            Io::Kernel(kernel) => kernel.socket.poll_heard(cx),
            Io::Gone => Poll::Ready(()),
        }
    }
}

impl AsyncRead for BulkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.quiet = false;
        match &mut this.io {
            Io::Rustls(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Kernel(kernel) => kernel.poll_read(cx, buf, &this.counters),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncWrite for BulkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(match &mut this.io {
            Io::Rustls(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Kernel(kernel) => {
                kernel.may_write()?;
                Pin::new(&mut kernel.socket).poll_write(cx, buf)
            }
            Io::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        })?;
        this.wrote(written)?;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(match &mut this.io {
            Io::Rustls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Kernel(kernel) => {
                kernel.may_write()?;
                Pin::new(&mut kernel.socket).poll_write_vectored(cx, bufs)
            }
            Io::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        })?;
        this.wrote(written)?;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        // Of either.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.io {
            Io::Rustls(stream) => {
                ready!(Pin::new(stream).poll_flush(cx))?;
                Poll::Ready(this.go_over())
            }
            Io::Kernel(kernel) => Pin::new(&mut kernel.socket).poll_flush(cx),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.io {
            Io::Rustls(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Kernel(kernel) => kernel.poll_shutdown(cx),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

#[cfg(test)]
#[path = "bulk_tests.rs"]
mod tests;
