//! How far many are, in one line that is written over and over: on a terminal only.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::out::Out;
use super::render;
use super::report::plain;

/// Between two lines at least.
const REDRAW: Duration = Duration::from_millis(150);

/// What the rate is taken over.
const WINDOW: Duration = Duration::from_secs(30);

/// How far it is.
#[derive(Debug)]
pub(super) struct Progress {
    total: usize,
    done: usize,
    failed: usize,
    /// When each of the last ones ended.
    ends: VecDeque<Instant>,
    began: Instant,
    drawn: Option<Instant>,
    terminal: bool,
    why: Option<String>,
}

impl Progress {
    pub(super) fn of(total: usize) -> Self {
        Self {
            total,
            done: 0,
            failed: 0,
            ends: VecDeque::new(),
            began: Instant::now(),
            drawn: None,
            terminal: std::io::stderr().is_terminal(),
            why: None,
        }
    }

    /// One more ended.
    pub(super) fn end(&mut self, well: bool) {
        self.end_at(well, Instant::now());
    }

    fn end_at(&mut self, well: bool, now: Instant) {
        self.done += 1;
        self.failed += usize::from(!well);
        self.ends.push_back(now);
    }

    /// Why nothing goes on, if so.
    pub(super) fn waits(&mut self, why: Option<String>) {
        self.why = why;
    }

    /// Ends in a second, over the last half minute.
    fn rate(&self, now: Instant) -> f64 {
        let span = now.duration_since(self.began).min(WINDOW);
        let counted = self.ends.iter().filter(|end| now.duration_since(**end) <= WINDOW).count();
        let counted = u32::try_from(counted).unwrap_or(u32::MAX);
        f64::from(counted) / span.as_secs_f64().max(0.5)
    }

    /// Writes the line, unless it was just written or nobody sees it.
    pub(super) fn draw(&mut self, out: &mut Out, width: Option<u16>) {
        let now = Instant::now();
        while self.ends.front().is_some_and(|end| now.duration_since(*end) > WINDOW) {
            self.ends.pop_front();
        }
        if !self.terminal || self.drawn.is_some_and(|at| now.duration_since(at) < REDRAW) {
            return;
        }
        self.drawn = Some(now);
        let width = usize::from(width.unwrap_or(80)).saturating_sub(1);
        let line: String = self.line(now).chars().take(width).collect();
        // To the beginning, and what was longer before is wiped (ECMA-48, EL).
        let _nobody_reads = write!(out.errors, "\r{line}\x1b[K").and_then(|()| out.errors.flush());
    }

    /// Wipes it, so that something else can stand there.
    pub(super) fn clear(&mut self, out: &mut Out) {
        if self.terminal && self.drawn.take().is_some() {
            let _nobody_reads = write!(out.errors, "\r\x1b[K").and_then(|()| out.errors.flush());
        }
    }

    fn line(&self, now: Instant) -> String {
        const CELLS: usize = 20;
        let full = (self.done * CELLS).checked_div(self.total).unwrap_or(CELLS).min(CELLS);
        let bar: String = (0..CELLS).map(|cell| if cell < full { '#' } else { '.' }).collect();
        let rate = self.rate(now);
        let left = self.total.saturating_sub(self.done);
        let mut line = format!("[{bar}] {}/{}  {rate:.1}/s", self.done, self.total);
        if self.failed > 0 {
            line.push_str(&format!("  {} failed", self.failed));
        }
        if let Some(why) = &self.why {
            line.push_str(&format!("  waits: {}", plain(why)));
        } else if rate > 0.0 && left > 0 {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let eta = Duration::try_from_secs_f64(f64::from(left) / rate).unwrap_or_default();
            line.push_str(&format!("  {} left", render::span(eta.as_secs())));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rate_failures_what_is_left_and_why_it_waits() {
        let mut progress = Progress::of(100);
        let after = |began: Instant, halves: u32| began + Duration::from_millis(500) * halves;
        let began = progress.began;
        for number in 1..=50 {
            progress.end_at(number % 25 != 0, after(began, number));
        }
        let now = after(began, 50);
        assert_eq!(progress.line(now), "[##########..........] 50/100  2.0/s  2 failed  25 s left");
        progress.waits(Some("the CA's limit\u{7}".to_owned()));
        let line = progress.line(now);
        assert!(line.contains("waits: the CA's limit") && !line.contains('\u{7}'), "{line}");
        // What was long ago does not count.
        assert!(progress.line(now + WINDOW * 2).contains(" 0.0/s"));
        assert!(Progress::of(0).line(began).starts_with("[####################] 0/0"));
    }
}
