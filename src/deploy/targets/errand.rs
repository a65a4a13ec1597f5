//! What was there before, and how far the change of it has come: a record that outlives a hand.
//!
//! It is durable before the first name changes, so whatever ends a hand, the next one finds either
//! nothing begun, or all that it takes to undo it. Deliberately absent: what is put there instead.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::base::bounds;
use crate::base::crash;
use crate::os::trusted::Entry;
use crate::os::trusted::TrustedDir;

/// The record, in the target's own directory.
const RECORD: &str = ".keyward-errand";

/// The directory beside it with the files that were there.
const BEFORE: &str = ".keyward-before";

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    /// Names are changing: some are the old ones, some the new.
    Swapping,
    /// All are the new ones, and nobody has said yet whether they stay.
    Placed,
    /// They change back.
    Returning,
}

/// What was under one name.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Was {
    Absent,
    Link(PathBuf),
    File { kept: String, mode: u32, user: u32, group: u32 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    step: Step,
    before: Vec<(PathBuf, Was)>,
}

/// The errand of one target.
#[derive(Debug)]
pub(super) struct Errand {
    record: Option<Record>,
}

/// The name under which something is written before it gets its own.
pub(super) fn aside(name: &OsStr) -> OsString {
    let mut aside = OsString::from(".");
    aside.push(name);
    aside.push(".keyward-new");
    aside
}

/// A failure with the path that it was about.
pub(super) fn about(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

impl Errand {
    /// What an earlier hand left; what it had half done is undone.
    pub(super) fn open(home: &TrustedDir) -> Result<Self, String> {
        let record =
            match home.entry(OsStr::new(RECORD)).map_err(about(home.path()))? {
                Entry::Absent => None,
                _ => {
                    let text = home.read(OsStr::new(RECORD), bounds::hand::ERRAND);
                    let text = text.map_err(about(&home.path().join(RECORD)))?;
                    let read = serde_json::from_slice::<Record>(&text);
                    Some(read.map_err(|error| {
                        format!("{}: {error}", home.path().join(RECORD).display())
                    })?)
                }
            };
        let mut errand = Self { record };
        if errand.record.as_ref().is_some_and(|record| record.step != Step::Placed) {
            errand.undo(home)?;
        }
        Ok(errand)
    }

    /// Remembers what is under these names, unless it was remembered when an earlier pair came that
    /// nobody has judged. From now on the names may change.
    pub(super) fn begin(
        &mut self,
        home: &TrustedDir,
        names: &[(&TrustedDir, &OsStr)],
    ) -> Result<(), String> {
        let mut before = self.record.take().map(|record| record.before).unwrap_or_default();
        let kept = home.make(OsStr::new(BEFORE), 0o700).map_err(|error| error.to_string())?;
        if before.is_empty() {
            // What a hand left that came no further than this.
            for name in kept.names().map_err(about(kept.path()))? {
                kept.remove(&name).map_err(about(kept.path()))?;
            }
        }
        for (directory, name) in names {
            let path = directory.path().join(name);
            if before.iter().all(|(known, _)| *known != path) {
                let was = remember(&kept, directory, name, before.len()).map_err(about(&path))?;
                before.push((path, was));
            }
        }
        kept.sync().map_err(about(kept.path()))?;
        crash::point("hand-remembered");
        self.note(home, Record { step: Step::Swapping, before })
    }

    /// All names have changed.
    pub(super) fn placed(&mut self, home: &TrustedDir) -> Result<(), String> {
        match self.record.take() {
            Some(record) => self.note(home, Record { step: Step::Placed, ..record }),
            None => Ok(()),
        }
    }

    /// Puts everything back as it was before; nothing is left to undo then.
    pub(super) fn undo(&mut self, home: &TrustedDir) -> Result<(), String> {
        let Some(record) = self.record.clone() else { return Ok(()) };
        let record = Record { step: Step::Returning, ..record };
        self.note(home, record.clone())?;
        crash::point("hand-returning");
        let kept = home.make(OsStr::new(BEFORE), 0o700).map_err(|error| error.to_string())?;
        for (path, was) in &record.before {
            restore(&kept, path, was)?;
            crash::point("hand-returned-one");
        }
        self.forget(home)
    }

    /// Nothing is to be put back any more.
    pub(super) fn forget(&mut self, home: &TrustedDir) -> Result<(), String> {
        home.remove(OsStr::new(RECORD)).map_err(about(home.path()))?;
        home.sync().map_err(about(home.path()))?;
        self.record = None;
        crash::point("hand-forgotten");
        home.remove_directory(OsStr::new(BEFORE)).map_err(about(home.path()))
    }

    fn note(&mut self, home: &TrustedDir, record: Record) -> Result<(), String> {
        let text = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
        let (name, new) = (OsStr::new(RECORD), aside(OsStr::new(RECORD)));
        home.write(&new, &text, 0o600, (None, None))
            .and_then(|()| home.rename(&new, name))
            .and_then(|()| home.sync())
            .map_err(about(&home.path().join(RECORD)))?;
        self.record = Some(record);
        Ok(())
    }
}

fn remember(
    kept: &TrustedDir,
    directory: &TrustedDir,
    name: &OsStr,
    number: usize,
) -> io::Result<Was> {
    match directory.entry(name)? {
        Entry::Absent => Ok(Was::Absent),
        Entry::Link(to) => Ok(Was::Link(to.into())),
        Entry::Other => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something is there that is neither a file nor a link: move it away",
        )),
        Entry::File(stat) => {
            let bytes = directory.read(name, bounds::hand::FORMER)?;
            let copy = number.to_string();
            kept.write(OsStr::new(&copy), &bytes, 0o600, (None, None))?;
            let mode = stat.st_mode & 0o7777;
            Ok(Was::File { kept: copy, mode, user: stat.st_uid, group: stat.st_gid })
        }
    }
}

fn restore(kept: &TrustedDir, path: &Path, was: &Was) -> Result<(), String> {
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    let directory = TrustedDir::open(parent).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default();
    let new = aside(name);
    let put = || match was {
        Was::Absent => directory.remove(name),
        Was::Link(to) => {
            directory.link(to.as_os_str(), &new)?;
            directory.rename(&new, name)
        }
        Was::File { kept: copy, mode, user, group } => {
            let bytes = kept.read(OsStr::new(copy), bounds::hand::FORMER)?;
            directory.write(&new, &bytes, *mode, (Some(*user), Some(*group)))?;
            directory.rename(&new, name)
        }
    };
    put().and_then(|()| directory.sync()).map_err(about(path))
}
