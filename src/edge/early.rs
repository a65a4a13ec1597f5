//! A connection whose client may speak before its handshake is complete (0-RTT, RFC 8446,
//! section 2.3).
//!
//! tokio-rustls gives a stream when a handshake is complete, and by then nothing would be gained.
//! So rustls is driven here: the stream is there as soon as early data is accepted, the answer
//! goes out behind our Finished, and the handshake goes on while the stream is read. What may be
//! done for a request that came early is decided where requests are answered.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use rustls::ServerConfig;
use rustls::ServerConnection;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;

use super::bulk::is_silent;
use super::guard::Farewell;

/// Whether the client has yet to prove that it is there now: what it says may be a repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct Unproven(Arc<AtomicBool>);

impl Unproven {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, unproven: bool) {
        self.0.store(unproven, Ordering::Release);
    }
}

/// The stream.
#[derive(Debug)]
pub(super) struct EarlyStream {
    io: TcpStream,
    tls: ServerConnection,
    unproven: Unproven,
    closing: bool,
}

impl EarlyStream {
    /// Shakes hands, until the end, or until early data is accepted.
    pub(super) async fn begin(
        start: StartHandshake<TcpStream>,
        config: Arc<ServerConfig>,
    ) -> io::Result<Self> {
        let StartHandshake { accepted, mut io, .. } = start;
        let tls = match accepted.into_connection(config) {
            Ok(tls) => tls,
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                // The client may be gone; then nobody misses the alert.
                let _gone = io.write_all(&bytes).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        let mut stream = Self { io, tls, unproven: Unproven::default(), closing: false };
        // What came with the ClientHello is looked at already.
        stream.process()?;
        std::future::poll_fn(|cx| stream.poll_shake(cx)).await?;
        Ok(stream)
    }

    pub(super) fn session(&self) -> &ServerConnection {
        &self.tls
    }

    pub(super) fn unproven(&self) -> Unproven {
        self.unproven.clone()
    }

    fn poll_shake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_drain(cx))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.tls.early_data().is_some() {
                self.unproven.set(true);
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Takes what there is of the client's records, and looks at it.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = match self.tls.read_tls(&mut Blocking { io: &mut self.io, cx }) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let Err(error) = self.process() {
            // The alert, as far as it can be sent at once.
            let _gone = self.poll_drain(cx);
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(read))
    }

    fn process(&mut self) -> io::Result<()> {
        let processed = self.tls.process_new_packets();
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if !self.tls.is_handshaking() {
            self.unproven.set(false);
        }
        Ok(())
    }

    /// Sends what rustls has to say.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Blocking { io: &mut self.io, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Farewell for EarlyStream {
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.tls.send_close_notify();
        }
        self.poll_drain(cx)
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let early = self.tls.early_data().is_some();
        if !early && is_silent(&mut self.tls) { self.io.poll_heard(cx) } else { Poll::Ready(()) }
    }
}

impl AsyncRead for EarlyStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            // What came early comes first.
            let early = match this.tls.early_data() {
                Some(mut early) => early.read(buf.initialize_unfilled())?,
                None => 0,
            };
            if early > 0 {
                buf.advance(early);
                return Poll::Ready(Ok(()));
            }
            match this.tls.reader().read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            // At its end, rustls says at the next look whether that was a proper one.
            ready!(this.poll_fill(cx))?;
            if let Poll::Ready(sent) = this.poll_drain(cx) {
                sent?;
            }
        }
    }
}

impl AsyncWrite for EarlyStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let taken = this.tls.writer().write(buf)?;
            let drained = this.poll_drain(cx);
            if let Poll::Ready(Err(error)) = drained {
                return Poll::Ready(Err(error));
            }
            if taken > 0 || buf.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            ready!(drained)?;
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_farewell(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

/// A socket as rustls reads and writes it.
struct Blocking<'a, 'b> {
    io: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl io::Read for Blocking<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut buf) {
            Poll::Ready(read) => read.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl io::Write for Blocking<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write(self.cx, buf) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
