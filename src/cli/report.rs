//! How an error looks, in one place, and which exit status it has.

use std::io;

use anstyle::AnsiColor;
use anstyle::Style;

use super::out::Out;
use crate::admin::wire::Problem;

pub(super) const DONE: u8 = 0;
pub(super) const FAILED: u8 = 1;
/// Of many, some and not all.
pub(super) const SOME: u8 = 2;
pub(super) const USAGE: u8 = 64;
pub(super) const BAD_DATA: u8 = 65;
pub(super) const NO_DAEMON: u8 = 69;
pub(super) const FAULT: u8 = 70;
/// It can be gone on with.
pub(super) const INTERRUPTED: u8 = 75;
pub(super) const NOT_ALLOWED: u8 = 77;
pub(super) const CONFIGURATION: u8 = 78;

/// Why a command ended without having done what was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Report {
    /// What happened, in one line; none to end without a word.
    pub(super) what: Option<String>,
    /// Where and why, line by line.
    pub(super) causes: Vec<String>,
    /// What to try.
    pub(super) hint: Option<String>,
    /// The exit status.
    pub(super) status: u8,
    /// What the daemon called it, if it did.
    pub(super) kind: Option<String>,
    /// Whether the daemon said that it may do it later.
    pub(super) passing: bool,
}

impl Report {
    pub(super) fn new(status: u8, what: impl Into<String>) -> Self {
        Self {
            what: Some(what.into()),
            causes: Vec::new(),
            hint: None,
            status,
            kind: None,
            passing: false,
        }
    }

    /// To end with `status` after everything was said already.
    pub(super) const fn quiet(status: u8) -> Self {
        Self { what: None, causes: Vec::new(), hint: None, status, kind: None, passing: false }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the daemon may do it later.
    pub(super) const fn is_passing(&self) -> bool {
        self.passing
    }

    /// Whether nothing is left of the allowance.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.kind.as_deref() == Some("/problems/overdrawn")
    }

    /// Standard output does not take more. A reader that has seen enough is no error.
    pub(super) fn writing(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::quiet(DONE);
        }
        Self::new(FAILED, format!("cannot write: {error}"))
    }

    /// What the daemon refused.
    pub(super) fn problem(problem: &Problem) -> Self {
        let status = match (problem.status, problem.kind.as_str()) {
            (401 | 403, _) => NOT_ALLOWED,
            (_, "/problems/configuration") => CONFIGURATION,
            (_, "/problems/slow") => NO_DAEMON,
            (500, _) => FAULT,
            _ => FAILED,
        };
        let mut lines = problem.detail.lines();
        let short = problem.detail.lines().count() == 1 && status == FAILED;
        let mut report = Self::new(status, problem.title.clone());
        if short {
            report.what = lines.next().map(str::to_owned);
        } else {
            report.causes = lines.map(str::to_owned).collect();
        }
        report.hint.clone_from(&problem.hint);
        report.kind = Some(problem.kind.clone());
        report.passing = matches!(problem.status, 429 | 503);
        report
    }

    /// Writes it to standard error and returns the exit status.
    pub(super) fn tell(&self, out: &mut Out) -> u8 {
        let bad = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let good = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
        if let Some(what) = &self.what {
            out.note(format_args!("{bad}error:{bad:#} {}", plain(what)));
        }
        for cause in &self.causes {
            out.note(format_args!("  {}", plain(cause)));
        }
        if let Some(hint) = &self.hint {
            out.note(format_args!("  {good}try:{good:#} {}", plain(hint)));
        }
        self.status
    }
}

/// `text` without control characters: what a CA or a file said must not steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Prints what clap has to say: help and version on standard output, everything else on standard
/// error.
pub(super) fn usage(refusal: &clap::Error) -> u8 {
    // Nobody can be told when this fails.
    let _nobody_reads = refusal.print();
    if refusal.use_stderr() { USAGE } else { DONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_daemon_has_its_exit_status() {
        let table = [
            (401, "bad-token", NOT_ALLOWED),
            (403, "not-allowed", NOT_ALLOWED),
            (404, "no-such-certificate", FAILED),
            (409, "ambiguous", FAILED),
            (422, "configuration", CONFIGURATION),
            (503, "slow", NO_DAEMON),
            (503, "unavailable", FAILED),
            (500, "fault", FAULT),
        ];
        for (status, kind, expected) in table {
            let problem = Problem {
                kind: format!("/problems/{kind}"),
                title: "t".to_owned(),
                status,
                detail: "d".to_owned(),
                hint: None,
                errors: Box::default(),
            };
            assert_eq!(Report::problem(&problem).status, expected, "{status} {kind}");
        }
    }

    #[test]
    fn what_others_wrote_cannot_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}d"), "a [2Jb c d");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Report::writing(&gone), Report::quiet(DONE));
        assert_eq!(Report::writing(&io::Error::other("disk full")).status, FAILED);
    }
}
