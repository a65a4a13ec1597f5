//! Log lines for the journal, in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
//!
//! Each line carries what varies twice: behind the sentence, for whoever reads `journalctl`, and as
//! fields `KEYWARD_*`, for whoever filters. (The crate tracing-journald does only the latter, so
//! the plain view would say that a file was refused, but not why.) A stuck journal loses lines and
//! never holds up the house. Deliberately absent: spans.

use std::fmt::{self, Write};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::base::bounds;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends every event to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Lines that the journal did not take since the last one that it took.
    lost: AtomicU64,
}

impl Journal {
    /// The journal of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn open() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Only to learn whether anybody is there: each line is sent by path, so that a journal
        // that was started anew is found again.
        UnixDatagram::unbound()?.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned(), lost: AtomicU64::new(0) })
    }

    fn send(&self, mut line: Vec<u8>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            put(&mut line, "KEYWARD_LINES_LOST", &lost.to_string());
        }
        if self.socket.send_to(&line, &self.path).is_err() {
            self.lost.fetch_add(lost.saturating_add(1), Ordering::Relaxed);
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let about = event.metadata();
        let mut line = Line::default();
        event.record(&mut line);
        let mut bytes = line.fields;
        put(&mut bytes, "MESSAGE", &format!("{}{}", line.sentence, line.details));
        put(&mut bytes, "PRIORITY", priority(*about.level()));
        put(&mut bytes, "SYSLOG_IDENTIFIER", "keyward");
        put(&mut bytes, "TARGET", about.target());
        if let Some(file) = about.file() {
            put(&mut bytes, "CODE_FILE", file);
        }
        if let Some(number) = about.line() {
            put(&mut bytes, "CODE_LINE", &number.to_string());
        }
        self.send(bytes);
    }
}

/// A way to the journal for lines that are whole, each under the identifier of who says it. Whoever
/// sends waits for the journal, but not for ever.
#[derive(Debug)]
pub struct PlainLines(Journal);

impl PlainLines {
    /// The journal of this machine, which may take `patience` for a line.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(patience: Duration) -> io::Result<Self> {
        Self::at(Path::new(SOCKET), patience)
    }

    fn at(path: &Path, patience: Duration) -> io::Result<Self> {
        let journal = Journal::at(path)?;
        journal.socket.set_nonblocking(false)?;
        journal.socket.set_write_timeout(Some(patience))?;
        Ok(Self(journal))
    }

    /// Sends `line` as one of `identifier`'s.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub fn send(&self, identifier: &str, line: &str) -> io::Result<()> {
        let mut bytes = Vec::new();
        put(&mut bytes, "MESSAGE", line);
        put(&mut bytes, "PRIORITY", priority(Level::INFO));
        put(&mut bytes, "SYSLOG_IDENTIFIER", identifier);
        self.0.socket.send_to(&bytes, &self.0.path).map(drop)
    }
}

/// The levels of syslog(3).
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// Appends one field. A value of several lines is sent with its length in front.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let end = value.floor_char_boundary(bounds::JOURNAL_FIELD);
    let value = value.get(..end).unwrap_or_default();
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&u64::try_from(value.len()).unwrap_or(0).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

/// One event, taken apart.
#[derive(Debug, Default)]
struct Line {
    sentence: String,
    /// ` name=value` for each field.
    details: String,
    fields: Vec<u8>,
}

impl Line {
    fn take(&mut self, field: &Field, value: &str) {
        let name = field.name();
        // What the bridge from the `log` crate adds says nothing that the target does not.
        if name.starts_with("log.") {
            return;
        }
        if name == "message" {
            value.clone_into(&mut self.sentence);
            return;
        }
        // Writing into a String cannot fail.
        let _infallible = write!(self.details, " {name}={value}");
        let upper: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        put(&mut self.fields, &format!("KEYWARD_{upper}"), value);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn hear(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = vec![0; 256 * 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn with_journal(test: impl FnOnce(&UnixDatagram)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let manager = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(subscriber, || test(&manager));
    }

    #[test]
    fn what_varies_stands_behind_the_sentence_and_in_fields() {
        with_journal(|manager| {
            tracing::error!(site = "shop.example", attempt = 3, "the order was refused");
            let heard = hear(manager);
            for field in [
                "MESSAGE=the order was refused site=shop.example attempt=3\n",
                "KEYWARD_SITE=shop.example\n",
                "KEYWARD_ATTEMPT=3\n",
                "PRIORITY=3\n",
                "SYSLOG_IDENTIFIER=keyward\n",
                "TARGET=keyward::os::journal::tests\n",
                "CODE_FILE=src/os/journal.rs\n",
            ] {
                assert!(heard.contains(field), "{field:?} in {heard:?}");
            }
        });
    }

    #[test]
    fn a_value_of_several_lines_cannot_begin_a_field_of_its_own() {
        with_journal(|manager| {
            tracing::info!(reason = "one\nPRIORITY=0", "refused");
            let heard = hear(manager);
            let length = "\u{e}\0\0\0\0\0\0\0";
            assert!(
                heard.contains(&format!("KEYWARD_REASON\n{length}one\nPRIORITY=0\n")),
                "{heard:?}"
            );
            assert!(heard.contains("PRIORITY=6\n"));
        });
    }

    #[test]
    fn a_plain_line_is_sent_as_it_is_and_a_stuck_journal_refuses_it_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let manager = UnixDatagram::bind(&path).unwrap();
        let lines = PlainLines::at(&path, Duration::from_millis(20)).unwrap();
        lines.send("keyward-access", "GET /").unwrap();
        let heard = hear(&manager);
        assert_eq!(heard, "MESSAGE=GET /\nPRIORITY=6\nSYSLOG_IDENTIFIER=keyward-access\n");
        let refused = (0..5_000).any(|_| lines.send("keyward-access", "GET /").is_err());
        assert!(refused, "nobody reads, and every line is taken");
    }

    #[test]
    fn a_huge_value_is_cut_and_still_arrives() {
        with_journal(|manager| {
            tracing::info!(text = "\u{e9}".repeat(1_000_000), "long");
            let heard = hear(manager);
            assert!(heard.len() < 3 * bounds::JOURNAL_FIELD, "{}", heard.len());
            assert!(heard.contains("PRIORITY=6\n"));
        });
    }

    #[test]
    fn a_stuck_journal_loses_lines_and_says_so_later() {
        with_journal(|manager| {
            // Nobody reads: more lines than the kernel queues, and none of them blocks.
            for number in 0..5_000 {
                tracing::info!(number, "line");
            }
            manager.set_nonblocking(true).unwrap();
            let mut byte = [0];
            let mut queued = 0_u32;
            while manager.recv(&mut byte).is_ok() {
                queued += 1;
            }
            assert!(queued < 5_000);
            manager.set_nonblocking(false).unwrap();
            tracing::info!("heard again");
            let heard = hear(manager);
            assert!(heard.contains("MESSAGE=heard again\n"), "{heard:?}");
            assert!(
                heard.contains(&format!("KEYWARD_LINES_LOST={}\n", 5_000 - queued)),
                "{heard:?}"
            );
        });
    }
}
