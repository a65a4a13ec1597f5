//! Pairs as files: a directory for each with one link to the present one, and files at fixed places.
//!
//! Everything is written beside its place and synced before the first name changes; the link changes
//! by one rename, files at fixed places one right after the other. What was there before is remembered
//! ([`super::errand`]) until the new pair is judged, whoever put it there. Deliberately absent: who reads
//! the files, and how it is told.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use nix::fcntl::Flock;
use nix::unistd::Group;
use nix::unistd::User;
use zeroize::Zeroizing;

use super::Fault;
use super::Target;
use super::errand::Errand;
use super::errand::about;
use super::errand::aside;
use super::pkcs12;
use super::reload;
use crate::base::bounds;
use crate::base::crash;
use crate::config::FileTarget;
use crate::config::TargetReload as Reload;
use crate::config::path_for;
use crate::deploy::hand::deadline::Deadline;
use crate::deploy::pair::Pair;
use crate::os::trusted::Entry;
use crate::os::trusted::TrustedDir;

/// The link to the present pair.
const CURRENT: &str = "current";

/// Pairs that stay beside the present one, for whoever wants to look.
const FORMER: usize = 1;

/// What is in a file.
#[derive(Clone, Copy, Debug)]
enum Content {
    Chain,
    Key,
    Combined,
    Pkcs12,
}

/// A file at a place of its own.
#[derive(Debug)]
struct Fixed {
    directory: TrustedDir,
    name: OsString,
    content: Content,
}

/// The files of one target.
#[derive(Debug)]
pub(super) struct Files {
    /// Where the record of what is being done is kept, and the pairs if they have directories.
    home: TrustedDir,
    /// No other hand is at work here.
    _claimed: Flock<File>,
    /// Names in the directory of a pair; empty where there is none.
    inner: Vec<(OsString, Content)>,
    fixed: Vec<Fixed>,
    owner: (Option<u32>, Option<u32>),
    /// Of what holds a key.
    mode: u32,
    reload: Option<Reload>,
    errand: Errand,
    /// The directory of the pair that was written last.
    version: Option<OsString>,
}

impl Files {
    /// The target's directories, each reached without following a stranger. What an earlier hand left
    /// half done is undone.
    pub(super) fn open(
        target: &FileTarget,
        target_name: &str,
        name: &str,
        deadline: Deadline,
    ) -> Result<Self, Fault> {
        let (inner, fixed) = places(target, name)?;
        let home = home(target, target_name, name, &fixed)?;
        home.check_own().map_err(Fault::harmless)?;
        let claimed = claim(&home, deadline)?;
        let owner = owner(target)?;
        let errand = Errand::open(&home).map_err(|reason| {
            Fault::half_done(format!("what an earlier attempt left cannot be undone: {reason}"))
        })?;
        Ok(Self {
            home,
            _claimed: claimed,
            inner,
            fixed,
            owner,
            mode: target.mode.unwrap_or(0o600),
            reload: target.reload.clone(),
            errand,
            version: None,
        })
    }

    /// What is in the first file at a place of its own; `None` when it is not there.
    pub(super) fn first_fixed(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let Some(Fixed { directory, name, .. }) = self.fixed.first() else { return Ok(None) };
        let there = directory.entry(name).and_then(|entry| match entry {
            Entry::Absent => Ok(None),
            _ => directory.read(name, bounds::hand::FORMER).map(Some),
        });
        there.map_err(about(&directory.path().join(name)))
    }

    fn mode_of(&self, content: Content) -> u32 {
        match content {
            Content::Chain => 0o644,
            Content::Key | Content::Combined | Content::Pkcs12 => self.mode,
        }
    }

    /// Everything that takes time, beside what is in use.
    fn write(&mut self, pair: &Pair) -> Result<(), String> {
        for Fixed { directory, name, content } in &self.fixed {
            let bytes = render(*content, pair)?;
            directory
                .write(&aside(name), &bytes, self.mode_of(*content), self.owner)
                .map_err(about(&directory.path().join(name)))?;
        }
        if !self.inner.is_empty() {
            let version = next_version(&self.home)?;
            let directory = self.home.make(&version, 0o755).map_err(|error| error.to_string())?;
            self.version = Some(version.clone());
            for (name, content) in &self.inner {
                let bytes = render(*content, pair)?;
                directory
                    .write(name, &bytes, self.mode_of(*content), self.owner)
                    .map_err(about(&directory.path().join(name)))?;
            }
            directory.sync().map_err(about(directory.path()))?;
            let current = OsStr::new(CURRENT);
            match self.home.entry(current).map_err(about(self.home.path()))? {
                Entry::Absent | Entry::Link(_) => {}
                _ => {
                    let path = self.home.path().join(current);
                    return Err(format!("{} is no link: move it away", path.display()));
                }
            }
            self.home.link(&version, &aside(current)).map_err(about(self.home.path()))?;
        }
        Ok(())
    }

    /// Gives everything its name.
    fn swap(&self) -> Result<(), String> {
        for Fixed { directory, name, .. } in &self.fixed {
            let swapped = directory.rename(&aside(name), name).and_then(|()| directory.sync());
            swapped.map_err(about(&directory.path().join(name)))?;
            crash::point("hand-swapped-one");
        }
        if !self.inner.is_empty() {
            let current = OsStr::new(CURRENT);
            let swapped = self.home.rename(&aside(current), current);
            swapped.and_then(|()| self.home.sync()).map_err(about(self.home.path()))?;
        }
        crash::point("hand-swapped");
        Ok(())
    }

    /// Takes away what was written and is not used.
    fn tidy(&mut self) {
        for Fixed { directory, name, .. } in &self.fixed {
            let _absent = directory.remove(&aside(name));
        }
        if !self.inner.is_empty() {
            let _absent = self.home.remove(&aside(OsStr::new(CURRENT)));
        }
        if let Some(version) = self.version.take() {
            // What is left of it is pruned when a pair is kept.
            let _left = self.home.remove_directory(&version);
        }
    }

    /// All versions but the present one and those right before it.
    fn prune(&self) {
        let Ok(Entry::Link(present)) = self.home.entry(OsStr::new(CURRENT)) else { return };
        let Some(present) = number(&present) else { return };
        let mut all = versions(&self.home).unwrap_or_default();
        all.sort_unstable();
        let older: Vec<u64> = all.iter().copied().filter(|one| *one < present).collect();
        let stay = older.len().saturating_sub(FORMER);
        let newer = all.iter().filter(|one| **one > present);
        for old in older.get(..stay).unwrap_or_default().iter().chain(newer) {
            let _left = self.home.remove_directory(OsStr::new(&format!("v{old}")));
        }
    }
}

impl Target for Files {
    fn place(&mut self, pair: &Pair) -> Result<(), Fault> {
        if let Err(reason) = self.write(pair) {
            self.tidy();
            return Err(Fault::harmless(reason));
        }
        crash::point("hand-written");
        let current = OsStr::new(CURRENT);
        let fixed = self.fixed.iter().map(|Fixed { directory, name, .. }| (directory, &**name));
        let names: Vec<(&TrustedDir, &OsStr)> =
            fixed.chain((!self.inner.is_empty()).then_some((&self.home, current))).collect();
        if let Err(reason) = self.errand.begin(&self.home, &names) {
            self.tidy();
            return Err(Fault::harmless(reason));
        }
        crash::point("hand-noted");
        let swapped = self.swap().and_then(|()| self.errand.placed(&self.home));
        crash::point("hand-placed");
        swapped.map_err(|reason| match self.errand.undo(&self.home) {
            Ok(()) => {
                self.tidy();
                Fault::harmless(reason)
            }
            Err(more) => Fault::half_done(format!("{reason}; and it cannot be undone: {more}")),
        })
    }

    fn take_up(&mut self, deadline: Deadline) -> Result<(), Fault> {
        let Some(reload) = &self.reload else { return Ok(()) };
        reload::reload(reload, deadline).map_err(Fault::half_done)
    }

    fn put_back(&mut self) -> Result<(), Fault> {
        self.errand.undo(&self.home).map_err(Fault::half_done)?;
        self.tidy();
        Ok(())
    }

    fn keep(&mut self) {
        // What is left of the record has the next hand believe that this pair was not judged.
        let _left = self.errand.forget(&self.home);
        self.version = None;
        self.prune();
    }
}

fn render(content: Content, pair: &Pair) -> Result<Zeroizing<Vec<u8>>, String> {
    Ok(match content {
        Content::Chain => Zeroizing::new(pair.chain_pem.clone().into_bytes()),
        Content::Key => pair.key_pem.clone(),
        Content::Combined => pair.combined(),
        Content::Pkcs12 => pkcs12::write(pair, "")?,
    })
}

/// Names in the directory of a pair, and files at fixed places.
type Places = (Vec<(OsString, Content)>, Vec<Fixed>);

fn places(target: &FileTarget, name: &str) -> Result<Places, Fault> {
    let mut wanted: Vec<(&Path, Content)> = [
        (&target.key, Content::Key),
        (&target.chain, Content::Chain),
        (&target.combined, Content::Combined),
        (&target.pkcs12, Content::Pkcs12),
    ]
    .into_iter()
    .filter_map(|(path, content)| Some((path.as_deref()?, content)))
    .collect();
    if wanted.is_empty() {
        wanted.push((Path::new("privkey.pem"), Content::Key));
        wanted.push((Path::new("fullchain.pem"), Content::Chain));
    }
    let (mut inner, mut fixed) = (Vec::new(), Vec::new());
    for (path, content) in wanted {
        let path = path_for(path, name);
        let last = path.file_name().map(OsStr::to_owned);
        let last =
            last.ok_or_else(|| Fault::harmless(format!("{} names no file", path.display())))?;
        if path.is_absolute() {
            let parent = path.parent().unwrap_or_else(|| Path::new("/"));
            let directory = TrustedDir::open_or_make(parent).map_err(Fault::harmless)?;
            fixed.push(Fixed { directory, name: last, content });
        } else if Path::new(&last) == path {
            inner.push((last, content));
        } else {
            let text = format!("{} is neither a name nor an absolute path", path.display());
            return Err(Fault::harmless(text));
        }
    }
    Ok((inner, fixed))
}

/// The target's own directory, or a hidden one beside its first file.
fn home(
    target: &FileTarget,
    target_name: &str,
    name: &str,
    fixed: &[Fixed],
) -> Result<TrustedDir, Fault> {
    if let Some(dir) = &target.dir {
        return TrustedDir::open_or_make(&path_for(dir, name)).map_err(Fault::harmless);
    }
    let first = fixed.first().ok_or_else(|| Fault::harmless("the target names no directory"))?;
    let hidden = OsString::from(format!(".keyward-{target_name}"));
    first.directory.make(&hidden, 0o700).map_err(Fault::harmless)
}

/// Waits until no other hand is at work there.
fn claim(home: &TrustedDir, deadline: Deadline) -> Result<Flock<File>, Fault> {
    loop {
        match home.claim().map_err(about(home.path())).map_err(Fault::harmless)? {
            Some(claimed) => return Ok(claimed),
            None if deadline.is_past() => {
                let text = format!("another hand is still at work in {}", home.path().display());
                return Err(Fault::harmless(text));
            }
            None => super::program::pause(std::time::Duration::from_millis(50)),
        }
    }
}

fn owner(target: &FileTarget) -> Result<(Option<u32>, Option<u32>), Fault> {
    let user = |text: &String| match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => match User::from_name(text) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(Fault::harmless(format!("there is no user {text}"))),
            Err(error) => Err(Fault::harmless(format!("the user {text}: {error}"))),
        },
    };
    let group = |text: &String| match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => match Group::from_name(text) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(Fault::harmless(format!("there is no group {text}"))),
            Err(error) => Err(Fault::harmless(format!("the group {text}: {error}"))),
        },
    };
    Ok((
        target.owner.as_ref().map(user).transpose()?,
        target.group.as_ref().map(group).transpose()?,
    ))
}

fn number(version: &OsStr) -> Option<u64> {
    version.to_str()?.strip_prefix('v')?.parse().ok()
}

fn versions(home: &TrustedDir) -> Result<Vec<u64>, String> {
    let names = home.names().map_err(about(home.path()))?;
    Ok(names.iter().filter_map(|name| number(name)).collect())
}

fn next_version(home: &TrustedDir) -> Result<OsString, String> {
    let last = versions(home)?.into_iter().max().unwrap_or(0);
    Ok(OsString::from(format!("v{}", last.saturating_add(1))))
}
