//! The listening socket: there for others only when it is complete, and never taken from a
//! daemon that lives.
//!
//! It is bound inside a directory that only this user can enter, gets its mode and group there,
//! and is then renamed to its place. So nobody can connect before the permissions stand, whatever
//! the umask, and a stale socket is replaced without a moment of absence.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::access::Access;
use crate::base::bounds;
use crate::config::Config;
use crate::config::Share;

/// Read and write for owner and group: to connect one must be allowed to write.
const MODE: u32 = 0o660;

/// The same for everybody: who is a client stands in the credentials.
const OPEN_MODE: u32 = 0o666;

/// Why the admin socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon answers there.
    #[error("another daemon answers on {}", path.display())]
    Alive {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("{} is there and is no socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The group is not in the user database.
    #[error("there is no group {group:?}")]
    NoSuchGroup {
        /// Its name.
        group: String,
    },
    /// The user database does not answer.
    #[error("group {group:?} cannot be looked up: {source}")]
    GroupLookup {
        /// Its name.
        group: String,
        /// Why.
        source: io::Error,
    },
    /// The operating system refuses.
    #[error("cannot {step} for the admin socket {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A listening admin socket and who may use it. The path is removed when this is dropped, unless
/// somebody else's socket stands there by then.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: UnixListener,
    pub(super) access: Access,
    pub(super) configs: Option<watch::Receiver<Arc<Config>>>,
    ours: Option<Ours>,
    left: Left,
}

/// The way through the mode of the socket, where that is ours.
#[derive(Debug)]
pub(super) struct Gateway(Option<Ours>);

/// Has a socket's path stay when its owner goes, as somebody else goes on with it.
#[derive(Clone, Debug, Default)]
pub struct Left(Arc<AtomicBool>);

impl Left {
    /// The path stays.
    pub fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Bound {
    /// Lets in the clients of the configuration as well, as it is and as it becomes.
    #[must_use]
    pub fn following(mut self, configs: watch::Receiver<Arc<Config>>) -> Self {
        let open = !configs.borrow().clients.is_empty();
        if let Err(error) = self.gateway().open_to_all(open) {
            tracing::warn!(reason = %error, "the mode of the admin socket cannot be set");
        }
        self.configs = Some(configs);
        self
    }

    /// What each client may take.
    pub(super) fn share(&self) -> Share {
        match &self.configs {
            Some(configs) => configs.borrow().admin.share,
            None => Share {
                connections: bounds::ADMIN_CONNECTIONS,
                requests: bounds::ADMIN_CONNECTIONS,
                per_minute: u32::MAX,
                body: bounds::ADMIN_BODY,
            },
        }
    }

    /// The way through the mode.
    pub(super) fn gateway(&self) -> Gateway {
        Gateway(self.ours.clone())
    }

    /// A copy of the listener, and the way to leave its path to whoever is handed that.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn copy(&self) -> io::Result<(UnixListener, Left)> {
        Ok((self.listener.try_clone()?, self.left.clone()))
    }
}

impl Gateway {
    /// Sets the mode, so that everybody can connect or not. Of an inherited socket the service manager
    /// sets it.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn open_to_all(&self, open: bool) -> io::Result<()> {
        let Some(ours) = &self.0 else { return Ok(()) };
        let found = std::fs::symlink_metadata(&ours.path)?;
        let mode = if open { OPEN_MODE } else { MODE };
        if !ours.is(&found) || found.permissions().mode() & 0o777 == mode {
            return Ok(());
        }
        std::fs::set_permissions(&ours.path, std::fs::Permissions::from_mode(mode))
    }
}

#[derive(Clone, Debug)]
struct Ours {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Ours {
    fn is(&self, found: &std::fs::Metadata) -> bool {
        found.dev() == self.device && found.ino() == self.inode
    }
}

/// Opens the admin socket at `path`, for `group` beside root and this user.
///
/// # Errors
/// When a daemon answers there already, something else is in the way, the group is unknown, or
/// the operating system refuses.
pub fn bind(path: &Path, group: Option<&str>) -> Result<Bound, BindError> {
    let access = Access::new(group)?;
    let io = |step: &'static str| {
        let path = path.to_owned();
        move |source| BindError::Io { step, path, source }
    };
    make_way(path)?;
    let parent =
        path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // A short name: the length of a socket's path is limited to 107 bytes.
    let aside = parent.join(format!(".kw{}", std::process::id()));
    // A left-over of a killed process with our number; never somebody's live socket.
    let _left_over = std::fs::remove_dir_all(&aside);
    DirBuilder::new().mode(0o700).create(&aside).map_err(io("create a directory"))?;
    let place = aside.join("s");
    let listener = prepare(&place, path, &access).inspect_err(|_| {
        // The first error is the one worth reporting.
        let _ignored = std::fs::remove_dir_all(&aside);
    })?;
    // Nothing is left in it after the rename; a directory that stays behind harms nobody.
    let _ignored = std::fs::remove_dir_all(&aside);
    let meta = std::fs::symlink_metadata(path).map_err(io("read the permissions"))?;
    let ours = Ours { path: path.to_owned(), device: meta.dev(), inode: meta.ino() };
    Ok(Bound { listener, access, configs: None, ours: Some(ours), left: Left::default() })
}

/// Goes on with a socket that another daemon has bound at `path` and left to this one.
///
/// # Errors
/// When the group is unknown, or the operating system refuses.
pub fn handed(
    listener: UnixListener,
    path: &Path,
    group: Option<&str>,
) -> Result<Bound, BindError> {
    let access = Access::new(group)?;
    let io = |source| BindError::Io { step: "read the permissions", path: path.into(), source };
    let meta = std::fs::symlink_metadata(path).map_err(io)?;
    // Whom it lets through is settled when the clients are known, and never less in between.
    let mode = if meta.permissions().mode() & 0o006 == 0 { MODE } else { OPEN_MODE };
    permit(path, path, (&access, mode))?;
    let ours = Ours { path: path.to_owned(), device: meta.dev(), inode: meta.ino() };
    Ok(Bound { listener, access, configs: None, ours: Some(ours), left: Left::default() })
}

/// Takes over a listening socket that the service manager opened.
///
/// # Errors
/// When the group is unknown.
pub fn inherited(listener: UnixListener, group: Option<&str>) -> Result<Bound, BindError> {
    let access = Access::new(group)?;
    Ok(Bound { listener, access, configs: None, ours: None, left: Left::default() })
}

fn prepare(place: &Path, path: &Path, access: &Access) -> Result<UnixListener, BindError> {
    let io = |step: &'static str| {
        let path = path.to_owned();
        move |source| BindError::Io { step, path, source }
    };
    let listener = UnixListener::bind(place).map_err(io("bind"))?;
    permit(place, path, (access, MODE))?;
    std::fs::rename(place, path).map_err(io("rename"))?;
    Ok(listener)
}

/// Gives it its mode, and the group that `access` names; `path` is what messages call it.
fn permit(place: &Path, path: &Path, (access, mode): (&Access, u32)) -> Result<(), BindError> {
    let io = |step: &'static str| {
        let path = path.to_owned();
        move |source| BindError::Io { step, path, source }
    };
    if let Some(group) = access.group() {
        std::os::unix::fs::chown(place, None, Some(group.as_raw())).map_err(io("set the group"))?;
    }
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode))
        .map_err(io("set the mode"))
}

/// Makes sure that nobody's live socket is at `path`.
fn make_way(path: &Path) -> Result<(), BindError> {
    let io = |source| BindError::Io { step: "look at what is there", path: path.into(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::Alive { path: path.into() }),
        // Its queue is full, so somebody has it open.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::Alive { path: path.into() })
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(io(error)),
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let Some(ours) = self.ours.as_ref().filter(|_| !self.left.0.load(Ordering::Acquire)) else {
            return;
        };
        let still_ours = std::fs::symlink_metadata(&ours.path).is_ok_and(|meta| ours.is(&meta));
        if still_ours {
            // A stale socket is found and replaced at the next start.
            let _ignored = std::fs::remove_file(&ours.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_has_its_mode_whatever_the_umask_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let bound = bind(&path, None).unwrap();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o660);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays beside it");
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_is_left_to_another_daemon_stays_at_its_path_and_goes_with_that_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let first = bind(&path, None).unwrap();
        let (copy, left) = first.copy().unwrap();
        let second = handed(copy, &path, None).unwrap();
        left.leave();
        drop(first);
        UnixStream::connect(&path).unwrap();
        second.listener.accept().unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener of the standard library leaves its path behind");
        let bound = bind(&path, None).unwrap();
        assert!(matches!(bind(&path, None), Err(BindError::Alive { .. })));
        UnixStream::connect(&path).unwrap();
        drop(bound);
    }

    #[test]
    fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, None), Err(BindError::NotASocket { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn an_owner_that_goes_late_does_not_take_its_successors_socket_along() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let former = bind(&path, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        let successor = bind(&path, None).unwrap();
        drop(former);
        UnixStream::connect(&path).unwrap();
        drop(successor);
    }
}
