//! The thread that writes the access log, and alone waits for where it goes.
//!
//! A log that cannot be opened or written is told, tried again after a while, and costs lines,
//! never requests.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use tokio::time::Instant;

use super::Aim;
use super::Note;
use super::Shared;
use crate::base::bounds::access::ACCESS_JOURNAL;
use crate::base::bounds::access::ACCESS_RETRY;
use crate::config::AccessLogTo;
use crate::os::journal::PlainLines;

/// Who the lines are from, in the journal.
const IDENTIFIER: &str = "keyward-access";

enum Sink {
    File(File),
    Journal(PlainLines),
}

/// Writes until the last sender is gone.
pub(super) fn run(notes: &Receiver<Note>, shared: &Shared) {
    let mut writer =
        Writer { aim: Aim::default(), sink: None, retry: None, told: None, told_at: 0 };
    while let Ok(note) = notes.recv() {
        writer.look(shared);
        match note {
            Note::Page(bytes, lines) => writer.write(&bytes, lines, shared),
            Note::Look => {}
            Note::Done(done) => {
                // Whoever asked may have given up.
                let _gone = done.send(());
            }
        }
        writer.tell_lost(shared);
    }
}

/// Opens a log file to append to it. It is made where there is none, readable for the group, as
/// programs that ship logs are let in by that. A pipe that nobody reads is an error at once.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

struct Writer {
    aim: Aim,
    sink: Option<Sink>,
    /// Not opened again before.
    retry: Option<Instant>,
    /// When lost lines were told last, and how many they were then.
    told: Option<Instant>,
    told_at: u64,
}

impl Writer {
    /// Opens what is aimed at, if that changed or could not be opened for a while.
    fn look(&mut self, shared: &Shared) {
        let aim = shared.aim().clone();
        if aim.number == self.aim.number
            && (self.sink.is_some() || self.retry.is_none_or(|retry| Instant::now() < retry))
        {
            return;
        }
        self.aim = aim;
        (self.sink, self.retry) = (None, None);
        let opened = match &self.aim.to {
            None => return,
            Some(AccessLogTo::File(path)) => open(path).map(Sink::File),
            Some(AccessLogTo::Journal) => PlainLines::open(ACCESS_JOURNAL).map(Sink::Journal),
        };
        match opened {
            Ok(sink) => self.sink = Some(sink),
            Err(error) => self.fail("the access log cannot be opened", &error),
        }
    }

    fn fail(&mut self, what: &'static str, error: &io::Error) {
        self.sink = None;
        self.retry = Some(Instant::now() + ACCESS_RETRY);
        let to = match &self.aim.to {
            Some(AccessLogTo::File(path)) => path.display().to_string(),
            Some(AccessLogTo::Journal) | None => "the journal".to_owned(),
        };
        tracing::error!(to, %error, "{what}");
    }

    fn write(&mut self, bytes: &[u8], lines: u64, shared: &Shared) {
        let written = match &mut self.sink {
            // Nobody wants lines any more, or they cannot be had.
            None if self.aim.to.is_none() => return,
            None => Ok(0),
            Some(Sink::File(file)) => file.write_all(bytes).map(|()| lines),
            Some(Sink::Journal(journal)) => Ok(send(journal, bytes)),
        };
        let written = written.unwrap_or_else(|error| {
            self.fail("the access log cannot be written", &error);
            0
        });
        shared.written.fetch_add(written, Ordering::Relaxed);
        shared.lost.fetch_add(lines.saturating_sub(written), Ordering::Relaxed);
    }

    /// Says how many lines were lost, now and then.
    fn tell_lost(&mut self, shared: &Shared) {
        let lost = shared.lost.load(Ordering::Relaxed);
        let now = Instant::now();
        if lost == self.told_at || self.told.is_some_and(|told| now < told + ACCESS_RETRY) {
            return;
        }
        tracing::warn!(lines = lost - self.told_at, "the access log has lost lines");
        (self.told, self.told_at) = (Some(now), lost);
    }
}

/// How many of the lines the journal took.
fn send(journal: &PlainLines, bytes: &[u8]) -> u64 {
    let mut taken = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if journal.send(IDENTIFIER, &String::from_utf8_lossy(line)).is_ok() {
            taken += 1;
        }
    }
    taken
}
