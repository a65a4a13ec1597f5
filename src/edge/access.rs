//! The access log: a line for each request, written when its answer has ended.
//!
//! Each worker gathers lines on a page of its own and hands full ones to one thread, which alone
//! waits for disk or journal. Nobody else ever does: when that thread is behind by the pages that
//! may wait, lines are lost, counted and told.

mod entry;
mod line;
mod visit;
mod writer;

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use http::request::Parts;
use tokio::sync::Notify;
use tokio::sync::oneshot;

use self::line::Moment;
use super::connection::Client;
use crate::base::Clock;
use crate::base::bounds::access::ACCESS_LAST;
use crate::base::bounds::access::ACCESS_LINGER;
use crate::base::bounds::access::ACCESS_PAGE;
use crate::base::bounds::access::ACCESS_PAGES;
use crate::config;
use crate::config::AccessFormat;
use crate::config::AccessLogTo;

pub(super) use self::entry::Entry;
pub(super) use self::visit::Told;
pub(super) use self::visit::Visit;

/// What stands in the lines, as the configuration has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    format: AccessFormat,
    queries: bool,
    /// Whether what was agreed on in the handshake stands in them.
    tls: bool,
    sample: u64,
}

impl Terms {
    /// `None` where there is no log.
    pub(super) fn of(config: &config::AccessLog) -> Option<Self> {
        config.to.as_ref()?;
        let &config::AccessLog { format, queries, tls, sample, .. } = config;
        Some(Self { format, queries, tls, sample: sample.max(1) })
    }
}

/// The log, as all workers share it. The thread that writes ends with the last of them.
#[derive(Debug)]
pub(super) struct Log {
    notes: SyncSender<Note>,
    shared: Arc<Shared>,
}

/// What the writing thread is told.
enum Note {
    /// Lines, and how many they are.
    Page(Vec<u8>, u64),
    /// There is another aim.
    Look,
    /// To be answered when everything before it is written.
    Done(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Shared {
    aim: Mutex<Aim>,
    written: AtomicU64,
    lost: AtomicU64,
}

/// Where lines go; opened again whenever the number changes.
#[derive(Clone, Debug, Default)]
struct Aim {
    to: Option<AccessLogTo>,
    number: u64,
}

impl Log {
    /// Starts the thread that writes. Until it is told where to, it keeps nothing.
    pub(super) fn start() -> io::Result<Self> {
        let (notes, incoming) = sync_channel(ACCESS_PAGES);
        let shared = Arc::<Shared>::default();
        let known = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer::run(&incoming, &known))?;
        Ok(Self { notes, shared })
    }

    /// Lines go there from now on. What is open already stays open.
    pub(super) fn aim(&self, to: Option<&AccessLogTo>) {
        let mut aim = self.lock();
        if aim.to.as_ref() != to {
            aim.to = to.cloned();
            self.look(aim);
        }
    }

    /// Opens the file again, which somebody has moved away.
    pub(super) fn reopen(&self) {
        let aim = self.lock();
        self.look(aim);
    }

    fn look(&self, mut aim: std::sync::MutexGuard<'_, Aim>) {
        aim.number = aim.number.wrapping_add(1);
        drop(aim);
        // A full queue is looked through anyway, and each page of it looks at the aim.
        let _told = self.notes.try_send(Note::Look);
    }

    /// Waits until what was handed over is written, for a while.
    pub(super) async fn finish(&self) {
        let (done, written) = oneshot::channel();
        if self.notes.try_send(Note::Done(done)).is_ok() {
            // Either it is written, or it takes too long.
            let _late = tokio::time::timeout(ACCESS_LAST, written).await;
        }
    }

    /// Lines written, and lines lost.
    pub(super) fn figures(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.shared.written), read(&self.shared.lost))
    }

    /// Takes a page, or counts its lines as lost.
    fn take(&self, bytes: Vec<u8>, lines: u64) {
        if self.notes.try_send(Note::Page(bytes, lines)).is_err() {
            self.shared.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Aim> {
        self.shared.aim()
    }
}

impl Shared {
    /// A path and a number are whole at every moment.
    fn aim(&self) -> std::sync::MutexGuard<'_, Aim> {
        self.aim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page of one worker.
#[derive(Debug)]
pub(super) struct Pen {
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    page: RefCell<Page>,
    /// Something stands on the page.
    begun: Notify,
    /// Entries so far, for sampling.
    count: Cell<u64>,
}

#[derive(Debug, Default)]
struct Page {
    bytes: Vec<u8>,
    lines: u64,
    moment: Moment,
}

impl Pen {
    pub(super) fn new(log: Arc<Log>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock, page: RefCell::default(), begun: Notify::new(), count: Cell::new(0) }
    }

    /// The entry of a request that begins now, where there is a log.
    pub(super) fn begin(&self, terms: Option<Terms>, parts: &Parts) -> Option<Box<Entry>> {
        let terms = terms?;
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let drawn = count.is_multiple_of(terms.sample);
        Some(Box::new(Entry::new(terms, drawn, self.clock.now_millis(), parts)))
    }

    /// Writes the line of a request whose answer has ended, or was broken off.
    pub(super) fn write(&self, entry: &Entry, client: &Client, complete: bool) {
        if !entry.is_wanted() {
            return;
        }
        self.put(|bytes, moment| line::write(bytes, moment, entry, client, complete));
    }

    /// A connection to a service begins now, where there is a log.
    pub(super) fn arrive(&self, terms: Option<Terms>) -> Option<Visit> {
        let terms = terms?;
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let drawn = count.is_multiple_of(terms.sample);
        Some(Visit::new(terms, drawn, self.clock.now_millis()))
    }

    /// Writes the line of a connection to a service that has ended.
    pub(super) fn depart(&self, visit: &Visit, told: &Told<'_>) {
        if visit.is_wanted(told) {
            self.put(|bytes, moment| visit::write(bytes, moment, visit, told));
        }
    }

    /// Puts a line onto the page.
    fn put(&self, write: impl FnOnce(&mut Vec<u8>, &mut Moment)) {
        let mut page = self.page.borrow_mut();
        if page.bytes.is_empty() {
            page.bytes.reserve(ACCESS_PAGE);
            self.begun.notify_one();
        }
        let Page { bytes, lines, moment } = &mut *page;
        write(bytes, moment);
        *lines += 1;
        if page.bytes.len() >= ACCESS_PAGE {
            self.turn(&mut page);
        }
    }

    /// Hands on what stands on the page.
    pub(super) fn flush(&self) {
        self.turn(&mut self.page.borrow_mut());
    }

    fn turn(&self, page: &mut Page) {
        if page.lines > 0 {
            self.log.take(std::mem::take(&mut page.bytes), std::mem::take(&mut page.lines));
        }
    }

    /// Hands on pages that do not fill up, for ever.
    pub(super) async fn turn_pages(&self) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(ACCESS_LINGER).await;
            self.flush();
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Whether the file can be opened as the log would; for who wants to know before lines are lost.
///
/// # Errors
/// What the operating system says.
pub fn try_open(path: &Path) -> io::Result<()> {
    writer::open(path).map(drop)
}
