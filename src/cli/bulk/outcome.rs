//! What became of each line, for a person, for a program, and for a spreadsheet.

use std::path::Path;

use serde::Serialize;

use super::super::out::Out;
use super::super::render;
use super::super::report::FAILED;
use super::super::report::FAULT;
use super::super::report::Report;
use super::super::report::plain;
use super::lines::Line;
use crate::admin::wire::Moment;
use crate::base::disk;

/// Lines of which everyone is shown; of more, only those that failed.
const SHOWN: usize = 40;

/// What became of one line.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) line: Line,
    /// The certificate, once it was ordered.
    pub(super) certificate: Option<String>,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Nothing yet.
    Open,
    /// It was issued, now or in an earlier run.
    Issued { serial: String, not_after: Moment },
    /// It goes on at the daemon.
    Pending { why: String },
    /// It was refused, or its order ended.
    Failed { why: String },
}

impl Outcome {
    const fn word(&self) -> &'static str {
        match self {
            Self::Open => "not ordered",
            Self::Issued { .. } => "issued",
            Self::Pending { .. } => "pending",
            Self::Failed { .. } => "failed",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Open | Self::Issued { .. } => "",
            Self::Pending { why } | Self::Failed { why } => why,
        }
    }
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Told<'a> {
    line: u64,
    names: String,
    outcome: &'a str,
    certificate: &'a str,
    serial: &'a str,
    not_after: String,
    reason: &'a str,
}

fn told(row: &Row) -> Told<'_> {
    let (serial, not_after) = match &row.outcome {
        Outcome::Issued { serial, not_after } => (serial.as_str(), not_after.to_string()),
        _ => ("", String::new()),
    };
    let names: Vec<_> = row.line.names.iter().map(ToString::to_string).collect();
    Told {
        line: row.line.number,
        names: names.join(" "),
        outcome: row.outcome.word(),
        certificate: row.certificate.as_deref().unwrap_or_default(),
        serial,
        not_after,
        reason: row.outcome.why(),
    }
}

/// Prints all of it as JSON, or a table with the sum below it.
pub(super) fn tell(rows: &[Row], out: &mut Out) -> Result<(), Report> {
    if out.json {
        let all: Vec<_> = rows.iter().map(told).collect();
        return out.line(serde_json::to_string(&all).unwrap_or_default());
    }
    let few = rows.len() <= SHOWN;
    let shown = |row: &&Row| few || !matches!(row.outcome, Outcome::Issued { .. });
    let mut table = render::table(out, &["LINE", "NAMES", "OUTCOME", "UNTIL", "REASON"]);
    let mut any = false;
    for row in rows.iter().filter(shown) {
        any = true;
        let more = row.line.names.len().saturating_sub(1);
        let more = if more > 0 { format!(" +{more}") } else { String::new() };
        let until = match &row.outcome {
            Outcome::Issued { not_after, .. } => render::local(*not_after, &out.zone),
            _ => String::new(),
        };
        table.add_row([
            row.line.number.to_string(),
            plain(&format!("{}{more}", row.line.first)),
            row.outcome.word().to_owned(),
            until,
            plain(row.outcome.why()),
        ]);
    }
    if any {
        render::print(&table, out)?;
    }
    let count = |word: &str| rows.iter().filter(|row| row.outcome.word() == word).count();
    let mut sum = format!("{} of {} issued", count("issued"), rows.len());
    for word in ["failed", "pending", "not ordered"] {
        let number = count(word);
        if number > 0 {
            sum.push_str(&format!(", {number} {word}"));
        }
    }
    out.line(sum)
}

/// Writes all of it as CSV, in the place of what is there.
pub(super) fn write(rows: &[Row], path: &Path) -> Result<(), Report> {
    let fault = |error: csv::Error| Report::new(FAULT, error.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(told(row)).map_err(fault)?;
    }
    let text = writer.into_inner().map_err(|error| Report::new(FAULT, error.to_string()))?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    disk::replace(&path, &text, 0o644)
        .map_err(|error| Report::new(FAILED, format!("cannot write {}: {error}", path.display())))
}
