//! Directories reached over a path that no stranger can bend, and what is done in them by name.
//!
//! A path is walked once, one name at a time, and everything afterwards goes through the descriptor
//! that was reached. So a link or a directory that somebody puts there meanwhile leads nowhere. A link
//! on the way is followed only out of a directory that none but root and this user can write; a
//! directory that everybody can write is passed only where it is sticky, and never written in.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::fcntl::OFlag;
use nix::fcntl::RenameFlags;
use nix::sys::stat::FileStat;
use nix::sys::stat::Mode;
use nix::sys::stat::SFlag;
use nix::unistd::Gid;
use nix::unistd::Uid;
use nix::unistd::UnlinkatFlags;

use crate::base::bounds;

/// Why a directory is not written in. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It depends on where a process happens to be.
    #[error("{0} is no absolute path")]
    Relative(PathBuf),
    /// The kernel says so.
    #[error("{path}: {source}", path = path.display())]
    Denied {
        /// As far as the walk came.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Whoever can write there decides where it leads.
    #[error("{} is a symbolic link in a directory that others can write: name the place that it leads to", .0.display())]
    Link(PathBuf),
    /// Links that lead to each other.
    #[error("{} leads over too many symbolic links", .0.display())]
    Links(PathBuf),
    /// Anybody can put something else there.
    #[error("everybody can write in {}: chmod o-w it, or choose another directory", .0.display())]
    Everybody(PathBuf),
    /// Others than root and this user can change what is in it.
    #[error("others than its owner can write in {}, or another owns it: chown root it and chmod go-w it", .0.display())]
    Shared(PathBuf),
}

/// What is found under a name.
#[derive(Debug)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A file.
    File(FileStat),
    /// A symbolic link, and what it says.
    Link(OsString),
    /// Something else.
    Other,
}

/// A directory, and how it was reached.
#[derive(Debug)]
pub struct TrustedDir {
    directory: OwnedFd,
    path: PathBuf,
}

impl TrustedDir {
    /// Reaches the directory at `path`.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn open(path: &Path) -> Result<Self, Untrusted> {
        Walk::to(path, false, false)
    }

    /// The same; it may be one that everybody writes in, as long as nobody moves there what is
    /// another's. What is made there is to be looked at before it is used ([`Self::check_own`]).
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn open_sticky(path: &Path) -> Result<Self, Untrusted> {
        Walk::to(path, false, true)
    }

    /// The same; what is missing of it is made, for everybody to read.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn open_or_make(path: &Path) -> Result<Self, Untrusted> {
        Walk::to(path, true, false)
    }

    /// That none but root and this user can change what is in it.
    ///
    /// # Errors
    /// [`Untrusted::Shared`] when others can.
    pub fn check_own(&self) -> Result<(), Untrusted> {
        let stat = stat(&self.directory, &self.path)?;
        if is_own(&stat) { Ok(()) } else { Err(Untrusted::Shared(self.path.clone())) }
    }

    /// As it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is there under this name.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn entry(&self, name: &OsStr) -> io::Result<Entry> {
        let fd = &self.directory;
        let stat = match nix::sys::stat::fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(Entry::Absent),
            other => other?,
        };
        Ok(match kind(&stat) {
            SFlag::S_IFREG => Entry::File(stat),
            SFlag::S_IFLNK => Entry::Link(nix::fcntl::readlinkat(fd, name)?),
            _ => Entry::Other,
        })
    }

    /// The file of this name, at most `most` octets of it; no link is followed.
    ///
    /// # Errors
    /// When it is no file, or longer.
    pub fn read(&self, name: &OsStr, most: u64) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
        let flags = OFlag::O_RDONLY
            .union(OFlag::O_NOFOLLOW)
            .union(OFlag::O_NONBLOCK)
            .union(OFlag::O_CLOEXEC);
        let file = File::from(nix::fcntl::openat(&self.directory, name, flags, Mode::empty())?);
        let known = file.metadata()?;
        if !known.is_file() || known.len() > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no file, or far too long"));
        }
        // Room for all of it at once: a growing vector would leave copies behind.
        let room = usize::try_from(known.len()).unwrap_or(0).saturating_add(64);
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(room));
        file.take(known.len()).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a new file, and syncs it. What lay under this name is removed before; nobody but this
    /// user can open it before it is whole and has its owner.
    ///
    /// # Errors
    /// Whatever the kernel says; nothing is left then.
    pub fn write(
        &self,
        name: &OsStr,
        bytes: &[u8],
        mode: u32,
        owner: (Option<u32>, Option<u32>),
    ) -> io::Result<()> {
        self.remove(name)?;
        let flags = OFlag::O_WRONLY
            .union(OFlag::O_CREAT)
            .union(OFlag::O_EXCL)
            .union(OFlag::O_NOFOLLOW)
            .union(OFlag::O_CLOEXEC);
        let made = nix::fcntl::openat(&self.directory, name, flags, Mode::S_IRUSR)?;
        let mut file = File::from(made);
        let written = file.write_all(bytes).and_then(|()| {
            let (user, group) = (owner.0.map(Uid::from_raw), owner.1.map(Gid::from_raw));
            if user.is_some() || group.is_some() {
                nix::unistd::fchown(&file, user, group)?;
            }
            // After the change of the owner, which takes bits away.
            nix::sys::stat::fchmod(&file, Mode::from_bits_truncate(mode))?;
            file.sync_all()
        });
        if written.is_err() {
            // The first error is the one worth reporting.
            let _left = self.remove(name);
        }
        written
    }

    /// Gives what is called `from` the name `to`, in the place of what had it.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let (fd, none) = (&self.directory, RenameFlags::empty());
        Ok(nix::fcntl::renameat2(fd, from, fd, to, none)?)
    }

    /// Makes a symbolic link, in the place of one that an earlier process left.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn link(&self, to: &OsStr, name: &OsStr) -> io::Result<()> {
        self.remove(name)?;
        Ok(nix::unistd::symlinkat(to, &self.directory, name)?)
    }

    /// Removes a file or a link; it may be absent.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match nix::unistd::unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A directory in this one, made if it is missing.
    ///
    /// # Errors
    /// When something else has that name.
    pub fn make(&self, name: &OsStr, mode: u32) -> Result<Self, Untrusted> {
        let path = self.path.join(name);
        let failed = |errno: Errno| Untrusted::Denied { path: path.clone(), source: errno.into() };
        let mode = Mode::from_bits_truncate(mode);
        match nix::sys::stat::mkdirat(&self.directory, name, mode) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let flags = OFlag::O_RDONLY
            .union(OFlag::O_DIRECTORY)
            .union(OFlag::O_NOFOLLOW)
            .union(OFlag::O_CLOEXEC);
        let directory =
            nix::fcntl::openat(&self.directory, name, flags, Mode::empty()).map_err(failed)?;
        // Whatever mask this process has.
        nix::sys::stat::fchmod(&directory, mode).map_err(failed)?;
        Ok(Self { directory, path })
    }

    /// Removes a directory in this one with all that is in it; it may be absent.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        match self.entry(name)? {
            Entry::Absent => return Ok(()),
            Entry::Other => {}
            Entry::File(_) | Entry::Link(_) => return Err(Errno::ENOTDIR.into()),
        }
        let inner = self.make(name, 0o700).map_err(io::Error::other)?;
        // Files first, of which some may be secret.
        let mut deeper = Vec::new();
        for file in inner.names()? {
            if inner.remove(&file).is_err() {
                deeper.push(file);
            }
        }
        for directory in deeper {
            inner.remove_directory(&directory)?;
        }
        Ok(nix::unistd::unlinkat(&self.directory, name, UnlinkatFlags::RemoveDir)?)
    }

    /// The names in it, in no order.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        // By the descriptor: what the path leads to by now does not matter.
        let listing = std::fs::read_dir(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))?;
        listing.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Makes the names in it durable.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(self.directory.as_fd())?)
    }

    /// Keeps every other process out that asks the same of this directory; whether it was free.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn claim(&self) -> io::Result<Option<nix::fcntl::Flock<File>>> {
        let copy = File::from(self.directory.try_clone()?);
        match nix::fcntl::Flock::lock(copy, nix::fcntl::FlockArg::LockExclusiveNonblock) {
            Ok(claimed) => Ok(Some(claimed)),
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

impl AsRawFd for TrustedDir {
    fn as_raw_fd(&self) -> RawFd {
        self.directory.as_raw_fd()
    }
}

/// A walk along a path.
struct Walk {
    here: OwnedFd,
    path: PathBuf,
    links: usize,
    make: bool,
}

impl Walk {
    fn to(path: &Path, make: bool, sticky: bool) -> Result<TrustedDir, Untrusted> {
        if !path.is_absolute() {
            return Err(Untrusted::Relative(path.to_owned()));
        }
        let root = PathBuf::from("/");
        let here = open(None, OsStr::new("/"), &root)?;
        let mut walk = Self { here, path: root, links: 0, make };
        walk.along(path)?;
        let Self { here, path, .. } = walk;
        let mode = stat(&here, &path)?.st_mode;
        if mode & 0o002 != 0 && !(sticky && mode & libc::S_ISVTX != 0) {
            return Err(Untrusted::Everybody(path));
        }
        // What was opened for the way alone reads and syncs nothing.
        let directory = open(Some(&here), OsStr::new("."), &path)?;
        Ok(TrustedDir { directory, path })
    }

    fn along(&mut self, path: &Path) -> Result<(), Untrusted> {
        for part in path.components() {
            match part {
                Component::RootDir => {
                    self.path = PathBuf::from("/");
                    self.here = open(None, OsStr::new("/"), &self.path)?;
                }
                Component::Normal(name) => self.step(name)?,
                Component::ParentDir => self.step(OsStr::new(".."))?,
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(())
    }

    fn step(&mut self, name: &OsStr) -> Result<(), Untrusted> {
        let next = self.path.join(name);
        let before = stat(&self.here, &self.path)?;
        let found = nix::sys::stat::fstatat(&self.here, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let found = match found {
            Err(Errno::ENOENT) if self.make => {
                if before.st_mode & 0o002 != 0 {
                    return Err(Untrusted::Everybody(self.path.clone()));
                }
                let mode = Mode::from_bits_truncate(0o755);
                let made = nix::sys::stat::mkdirat(&self.here, name, mode);
                made.map_err(|errno| denied(&next, errno))?;
                nix::sys::stat::fstatat(&self.here, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            }
            other => other,
        };
        let found = found.map_err(|errno| denied(&next, errno))?;
        if kind(&found) == SFlag::S_IFLNK {
            if !is_own(&before) {
                return Err(Untrusted::Link(next));
            }
            self.links += 1;
            if self.links > bounds::hand::LINKS {
                return Err(Untrusted::Links(next));
            }
            let to = nix::fcntl::readlinkat(&self.here, name);
            return self.along(Path::new(&to.map_err(|errno| denied(&next, errno))?));
        }
        // In a sticky directory nobody moves what is another's; one that is not, anybody bends.
        let everybody = before.st_mode & 0o002 != 0;
        if everybody && (before.st_mode & libc::S_ISVTX == 0 || !is_ours(found.st_uid)) {
            return Err(Untrusted::Everybody(self.path.clone()));
        }
        self.here = open(Some(&self.here), name, &next)?;
        // What was looked at is what was opened: there are no two looks at the name that count.
        let reached = stat(&self.here, &next)?;
        if (reached.st_dev, reached.st_ino) != (found.st_dev, found.st_ino) {
            return Err(denied(&next, Errno::EAGAIN));
        }
        self.path = next;
        Ok(())
    }
}

fn open(place: Option<&OwnedFd>, name: &OsStr, path: &Path) -> Result<OwnedFd, Untrusted> {
    let flags =
        OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
    // Where only passing is allowed, passing is enough.
    let pass =
        OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
    let attempt = |flags| match place {
        Some(place) => nix::fcntl::openat(place, name, flags, Mode::empty()),
        None => nix::fcntl::open(name, flags, Mode::empty()),
    };
    let last = name == OsStr::new(".");
    attempt(if last { flags } else { pass }).map_err(|errno| denied(path, errno))
}

fn stat(directory: &OwnedFd, path: &Path) -> Result<FileStat, Untrusted> {
    nix::sys::stat::fstat(directory).map_err(|errno| denied(path, errno))
}

fn denied(path: &Path, errno: Errno) -> Untrusted {
    Untrusted::Denied { path: path.to_owned(), source: errno.into() }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT)
}

fn is_ours(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

/// Whether none but root and this user can write there.
fn is_own(stat: &FileStat) -> bool {
    let group = stat.st_gid == 0 || stat.st_gid == nix::unistd::getegid().as_raw();
    is_ours(stat.st_uid) && stat.st_mode & 0o002 == 0 && (stat.st_mode & 0o020 == 0 || group)
}

#[cfg(test)]
#[path = "trusted_tests.rs"]
mod tests;
