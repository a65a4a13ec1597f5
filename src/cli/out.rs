//! The one place where the command line writes: standard output and standard error, with colours
//! where they are wanted, and what a table needs to know about the reader.

use std::fmt::Display;
use std::io;
use std::io::IsTerminal as _;
use std::io::Write;

use anstream::AutoStream;
use anstream::ColorChoice;
use jiff::tz::TimeZone;

use super::args::Color;
use super::report::Report;
use crate::base::Clock as _;
use crate::base::SystemClock;
use crate::base::Timestamp;

/// Where a command writes, and for whom.
pub(super) struct Out {
    /// Standard output.
    pub(super) output: AutoStream<io::Stdout>,
    /// Standard error.
    pub(super) errors: AutoStream<io::Stderr>,
    /// Whether JSON is wanted.
    pub(super) json: bool,
    /// Columns of the terminal; none when the reader is no terminal.
    pub(super) width: Option<u16>,
    /// The zone in which times are shown.
    pub(super) zone: TimeZone,
}

impl Out {
    pub(super) fn new(color: Color, json: bool) -> Self {
        let choice = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::AlwaysAnsi,
            Color::Never => ColorChoice::Never,
        };
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let terminal = io::stdout().is_terminal();
        Self {
            output: AutoStream::new(io::stdout(), choice),
            errors: AutoStream::new(io::stderr(), choice),
            json,
            width: columns
                .filter(|columns| *columns >= 20)
                .or_else(|| terminal.then(super::render::terminal_width).flatten()),
            zone: TimeZone::system(),
        }
    }

    /// What time it is for the reader.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// One line, or several, on standard output.
    ///
    /// # Errors
    /// A [`Report`] that ends the command: quietly when the reader has gone.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Report> {
        writeln!(self.output, "{text}")
            .and_then(|()| self.output.flush())
            .map_err(|error| Report::writing(&error))
    }

    /// Bytes on standard output, as they are.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Report> {
        let mut output = io::stdout().lock();
        output
            .write_all(bytes)
            .and_then(|()| output.flush())
            .map_err(|error| Report::writing(&error))
    }

    /// One line on standard error. Nobody can be told when that fails.
    pub(super) fn note(&mut self, text: impl Display) {
        let _nobody_reads = writeln!(self.errors, "{text}");
    }
}
