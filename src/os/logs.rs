//! Where log lines go: the journal under systemd, text on standard error otherwise.
//!
//! Only the place and the filter are decided here. What may stand in a line is decided where the
//! line is written: never a key, a sealed blob, a token, a cookie or a query string.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use super::journal::Journal;

/// The place wished for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sink {
    /// The journal where standard error leads there anyway, text otherwise.
    Auto,
    /// Text on standard error.
    Text,
    /// The journal, wherever standard error leads.
    Journal,
}

/// Why logging cannot begin or change.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("{text:?} is no log filter: {source}")]
    Filter {
        /// What was given.
        text: String,
        /// Where it stops making sense.
        #[source]
        source: ParseError,
    },
    /// The journal was asked for, but it is not there.
    #[error("the journal cannot be reached: {0}")]
    Journal(#[source] io::Error),
    /// Somebody else set up logging before.
    #[error("logging is set up already: {0}")]
    Again(#[from] TryInitError),
    /// The log has ended.
    #[error("the log filter cannot be changed any more: {0}")]
    Gone(#[from] reload::Error),
}

/// Changes the filter of a running log.
#[derive(Clone, Debug)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    journal: bool,
}

impl Logs {
    /// Applies another filter, such as after a reload of the configuration.
    ///
    /// # Errors
    /// When `level` is no filter; the one before then stays.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        Ok(self.filter.reload(parse(level)?)?)
    }

    /// Whether lines go to the journal.
    pub const fn is_journal(&self) -> bool {
        self.journal
    }
}

/// Begins logging for the whole process. `level` is a level or a filter such as
/// `info,keyward::edge=debug`.
///
/// # Errors
/// When the filter is none, the journal is wished for and absent, or logging began before.
pub fn start(level: &str, sink: Sink) -> Result<Logs, LogError> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let journal = match sink {
        Sink::Text => None,
        Sink::Journal => Some(Journal::open().map_err(LogError::Journal)?),
        // Standard error is a fall-back here: a line in the wrong place is better than none.
        Sink::Auto if stderr_is_journal() => Journal::open().ok(),
        Sink::Auto => None,
    };
    let is_journal = journal.is_some();
    let lines: Box<dyn Layer<_> + Send + Sync> = match journal {
        Some(journal) => Box::new(journal),
        None => Box::new(text(io::stderr, colours())),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(Logs { filter: handle, journal: is_journal })
}

/// Lines of text for `writer`.
fn text<S, W>(writer: W, colours: bool) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours).with_target(false)
}

fn parse(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|source| LogError::Filter { text: level.to_owned(), source })
}

/// Colours help on a terminal and harm everywhere else (no-color.org).
fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// Whether standard error leads to the journal: systemd says to which file (systemd.exec(5),
/// `JOURNAL_STREAM`), and a redirection in between is noticed.
fn stderr_is_journal() -> bool {
    let Ok(said) = std::env::var("JOURNAL_STREAM") else { return false };
    identity(&io::stderr()).is_some_and(|own| names(&said, own))
}

/// Whether `said`, as `device:inode` in decimal, names that file.
fn names(said: &str, (device, inode): (u64, u64)) -> bool {
    said.split_once(':')
        .is_some_and(|(left, right)| left.parse() == Ok(device) && right.parse() == Ok(inode))
}

/// Device and inode behind a descriptor.
fn identity(descriptor: &impl AsFd) -> Option<(u64, u64)> {
    let file = std::fs::File::from(descriptor.as_fd().try_clone_to_owned().ok()?);
    let about = file.metadata().ok()?;
    Some((about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn the_filter_of_a_running_log_can_be_changed() {
        let page = Page::default();
        let writer = page.clone();
        let (filter, handle) = reload::Layer::new(parse("warn").unwrap());
        let logs = Logs { filter: handle, journal: false };
        let subscriber =
            tracing_subscriber::registry().with(filter).with(text(move || writer.clone(), false));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("too quiet");
            logs.set_level("info").unwrap();
            tracing::info!(site = "shop.example", "just right");
            assert!(matches!(logs.set_level("keyward=["), Err(LogError::Filter { .. })));
            tracing::info!("still heard");
        });
        let text = page.text();
        assert!(!text.contains("too quiet"), "{text}");
        assert!(text.contains("just right site=\"shop.example\""), "{text}");
        assert!(text.contains("still heard"), "{text}");
        assert!(!text.contains('\x1b'), "no colours in a file: {text}");
    }

    #[test]
    fn the_journal_is_recognised_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let own = identity(&file).unwrap();
        assert!(names(&format!("{}:{}", own.0, own.1), own));
        assert!(!names(&format!("{}:{}", own.0, own.1 + 1), own));
        assert!(!names("", own));
        assert!(!names("8", own));
    }
}
