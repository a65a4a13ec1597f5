//! The second copy of what is served, in a file of its own: so that a damaged database is not an
//! outage.
//!
//! Keys in it are sealed. Damage is noticed by a digest over everything, and the copy before the
//! last is kept for that case. Deliberately absent: anything but what a handshake needs.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use crate::base::bounds;
use crate::base::disk;
use crate::cert::served::Snapshot;

const NAME: &str = "served.bin";
const PREVIOUS: &str = "served.bin.1";

/// Eight octets of name, the last of which is the version.
pub(super) const MAGIC: &[u8; 8] = b"keyward\x01";

/// Magic, length of the body (big-endian), SHA-256 of magic, length and body.
const HEAD: usize = 8 + 8 + 32;

/// Why the second copy cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The operating system refuses.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what was written; neither is the one before it.
    #[error("the second copy {} is damaged: {reason}", path.display())]
    Damaged {
        /// The newer file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Writes `snapshot` to `dir`, which is made with mode 0700 when it is not there. Durable on
/// return; the former copy is kept unless it is damaged.
///
/// # Errors
/// [`CopyError::Io`]; a whole copy is there nevertheless if there was one before.
pub fn write(dir: &Path, snapshot: &Snapshot) -> Result<(), CopyError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| CopyError::Io { action, path, source }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed("creating", dir))?;
    let (path, previous) = (dir.join(NAME), dir.join(PREVIOUS));
    // A damaged copy must not push a whole one out.
    if matches!(read_one(&path), Ok(Some(_))) {
        match std::fs::remove_file(&previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("replacing", &previous)(error));
            }
            Ok(()) | Err(_) => {}
        }
        std::fs::hard_link(&path, &previous).map_err(failed("keeping", &previous))?;
    }
    disk::replace(&path, &pack(snapshot), 0o600).map_err(failed("writing", &path))
}

/// Reads the newest whole copy in `dir`; `None` when none was ever written.
///
/// # Errors
/// [`CopyError`] when there is one and neither it nor the one before can be read.
pub fn read(dir: &Path) -> Result<Option<Snapshot>, CopyError> {
    let newest = read_one(&dir.join(NAME));
    match newest {
        Ok(Some(snapshot)) => Ok(Some(snapshot)),
        Ok(None) => read_one(&dir.join(PREVIOUS)),
        Err(error) => match read_one(&dir.join(PREVIOUS)) {
            Ok(Some(snapshot)) => Ok(Some(snapshot)),
            Ok(None) | Err(_) => Err(error),
        },
    }
}

pub(super) fn pack(snapshot: &Snapshot) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "postcard fails only on sequences without a length, and there is none"
    )]
    let body = postcard::to_stdvec(snapshot).expect("a snapshot has known lengths");
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX).to_be_bytes();
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(digest(&length, &body).as_ref());
    bytes.extend_from_slice(&body);
    bytes
}

pub(super) fn unpack(bytes: &[u8]) -> Result<Snapshot, &'static str> {
    let (magic, rest) = bytes.split_at_checked(8).ok_or("it is too short")?;
    let (length, rest) = rest.split_at_checked(8).ok_or("it is too short")?;
    let (sum, body) = rest.split_at_checked(32).ok_or("it is too short")?;
    if magic.get(..7) != MAGIC.get(..7) {
        return Err("it is something else");
    }
    if magic != MAGIC {
        return Err("it has a version that is not known here");
    }
    if length != u64::try_from(body.len()).unwrap_or(u64::MAX).to_be_bytes() {
        return Err("it is cut short, or longer than it says");
    }
    if digest(length, body).as_ref() != sum {
        return Err("its digest does not match");
    }
    match postcard::take_from_bytes(body) {
        Ok((snapshot, [])) => Ok(snapshot),
        Ok(_) => Err("octets follow the certificates"),
        Err(_) => Err("it does not parse"),
    }
}

pub(super) fn digest(length: &[u8], body: &[u8]) -> ring::digest::Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(MAGIC);
    context.update(length);
    context.update(body);
    context.finish()
}

fn read_one(path: &Path) -> Result<Option<Snapshot>, CopyError> {
    let failed = |source| CopyError::Io { action: "reading", path: path.to_owned(), source };
    let damaged = |reason| CopyError::Damaged { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(bounds::COPY_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bounds::COPY_BYTES {
        return Err(damaged("it is larger than any copy"));
    }
    unpack(&bytes).map(Some).map_err(damaged)
}
