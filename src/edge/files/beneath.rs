//! Files beneath a directory, and nothing else: no link leads out of it, no name begins with a dot.
//!
//! The kernel sees to the first (openat2(2), `RESOLVE_BENEATH`), which no race can undo. The
//! directory is looked up anew for each file, so that a site may be changed whole by turning a
//! link. All of this waits for disks, and is done beside the workers.

use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use nix::fcntl::OFlag;
use nix::fcntl::OpenHow;
use nix::fcntl::ResolveFlag;
use nix::fcntl::open;
use nix::fcntl::openat2;
use nix::sys::stat::Mode;
use tokio::io::AsyncRead;
use tokio::io::AsyncSeek;
use tokio::io::ReadBuf;
use tower_http::services::fs;

/// A directory.
#[derive(Clone, Debug)]
pub(super) struct Beneath(Arc<Path>);

/// A file that is read.
#[derive(Debug)]
pub(super) struct Reading {
    file: tokio::fs::File,
    about: About,
}

/// What is known of a file or directory.
#[derive(Clone, Debug)]
pub(super) struct About(Metadata);

type Later<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Beneath {
    pub(super) fn new(root: &Path) -> Self {
        Self(root.into())
    }

    /// Whether there is such a directory that may be read.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn look(&self) -> io::Result<()> {
        std::fs::read_dir(&self.0).map(drop)
    }

    fn find(&self, path: &Path, flags: OFlag) -> io::Result<(OwnedFd, Metadata)> {
        if !path.components().all(|one| is_plain(&one)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let root =
            open(&*self.0, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let found = File::from(openat2(&root, path, how).map_err(outside)?);
        let about = found.metadata()?;
        if !about.is_file() && !about.is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((found.into(), about))
    }
}

/// What leads out is not there, and neither is what turns in circles.
fn outside(error: nix::errno::Errno) -> io::Error {
    match error {
        nix::errno::Errno::EXDEV | nix::errno::Errno::ELOOP | nix::errno::Errno::EAGAIN => {
            io::ErrorKind::NotFound.into()
        }
        other => other.into(),
    }
}

/// A name that may be asked for. `.well-known` is the one with a dot that is meant for clients
/// (RFC 8615).
fn is_plain(component: &Component<'_>) -> bool {
    match component {
        Component::CurDir => true,
        Component::Normal(name) => {
            !name.as_encoded_bytes().starts_with(b".") || *name == ".well-known"
        }
        Component::Prefix(_) | Component::RootDir | Component::ParentDir => false,
    }
}

async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl fs::Backend for Beneath {
    type File = Reading;
    type Metadata = About;
    type OpenFuture = Later<Reading>;
    type MetadataFuture = Later<About>;

    fn open(&self, path: PathBuf) -> Later<Reading> {
        let this = self.clone();
        Box::pin(beside(move || {
            // Not waiting: a pipe would have somebody come and write.
            let (found, about) = this.find(&path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
            if about.is_dir() {
                return Err(io::ErrorKind::NotFound.into());
            }
            let file = tokio::fs::File::from_std(File::from(found));
            Ok(Reading { file, about: About(about) })
        }))
    }

    fn metadata(&self, path: PathBuf) -> Later<About> {
        let this = self.clone();
        Box::pin(beside(move || Ok(About(this.find(&path, OFlag::O_PATH)?.1))))
    }
}

impl fs::File for Reading {
    type Metadata = About;
    type MetadataFuture<'a> = std::future::Ready<io::Result<About>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        std::future::ready(Ok(self.about.clone()))
    }
}

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(cx, buf)
    }
}

impl AsyncSeek for Reading {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(cx)
    }
}

impl fs::Metadata for About {
    fn is_dir(&self) -> bool {
        self.0.is_dir()
    }

    fn modified(&self) -> io::Result<std::time::SystemTime> {
        self.0.modified()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }
}
