//! Tables, fields and times as a person reads them.

use comfy_table::Attribute;
use comfy_table::Cell;
use comfy_table::Color;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use jiff::tz::TimeZone;

use super::out::Out;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::Moment;
use crate::admin::wire::Standing;
use crate::admin::wire::signing::SigningView;
use crate::base::Timestamp;

/// Columns of the terminal on standard output, if it is one.
pub(super) fn terminal_width() -> Option<u16> {
    Table::new().width()
}

/// A table without lines: two spaces between columns, and as wide as the reader's terminal at
/// most. Where the reader is no terminal nothing is wrapped.
pub(super) fn table(out: &Out, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).enforce_styling();
    // Without this the spaces that fill a column are styled too and cannot be trimmed.
    table.style_text_only();
    match out.width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Prints a table without the spaces behind its lines.
pub(super) fn print(table: &Table, out: &mut Out) -> Result<(), Report> {
    let text: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    out.line(text.join("\n"))
}

/// What others wrote, as a cell.
pub(super) fn cell(text: &str) -> Cell {
    Cell::new(plain(text))
}

/// The state of a certificate, in its colour.
pub(super) fn standing(state: Standing) -> Cell {
    coloured(state, state.word())
}

fn coloured(state: Standing, word: &str) -> Cell {
    let color = match state {
        Standing::Served => Color::Green,
        Standing::Working => Color::Yellow,
        Standing::NeedsYou => Color::Red,
    };
    Cell::new(plain(word)).fg(color)
}

/// The same with where it stands in its life, where that says more.
pub(super) fn life(state: Standing, condition: &str) -> Cell {
    let usual = match state {
        Standing::NeedsYou => condition == "failed",
        Standing::Served => condition == "issued",
        Standing::Working => condition == "wanted",
    };
    if usual {
        return standing(state);
    }
    if condition == STANDBY && state == Standing::Served {
        return coloured(state, condition);
    }
    coloured(state, &format!("{}, {condition}", state.word()))
}

/// What stands by is ready, and not served.
const STANDBY: &str = "standby";

/// Both in words.
pub(super) fn state(state: Standing, condition: &str) -> String {
    let word =
        if condition == STANDBY && state == Standing::Served { "ready" } else { state.word() };
    format!("{word} ({condition})")
}

/// Pairs of a word and what there is to say, one below the other.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(super) fn add(&mut self, word: &'static str, value: impl AsRef<str>) {
        self.0.push((word, plain(value.as_ref())));
    }

    pub(super) fn add_if(&mut self, word: &'static str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.add(word, value);
        }
    }

    pub(super) fn print(&self, out: &mut Out) -> Result<(), Report> {
        let widest = self.0.iter().map(|(word, _)| word.len()).max().unwrap_or_default();
        for (word, value) in &self.0 {
            out.line(format_args!("{word:widest$}  {value}").to_string().trim_end())?;
        }
        Ok(())
    }
}

/// A moment in the reader's zone, with the zone.
pub(super) fn local(moment: Moment, zone: &TimeZone) -> String {
    let seconds = i64::try_from(moment.0.as_unix()).ok();
    match seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        Some(at) => at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        None => moment.to_string(),
    }
}

/// A moment in the reader's zone and how far away it is.
pub(super) fn both(moment: Moment, out: &Out) -> String {
    format!("{} ({})", local(moment, &out.zone), relative(moment, out.now()))
}

/// How far away a moment is: `in 59 d`, `now`, `2 h ago`.
pub(super) fn relative(moment: Moment, now: Timestamp) -> String {
    let (ahead, behind) = (moment.0.since(now).as_secs(), now.since(moment.0).as_secs());
    match (ahead, behind) {
        (0, 0) => "now".to_owned(),
        (0, seconds) => format!("{} ago", span(seconds)),
        (seconds, _) => format!("in {}", span(seconds)),
    }
}

/// What a key does.
pub(super) fn signing(signing: &SigningView, out: &Out) -> String {
    let SigningView { signatures, handshakes, per_minute, .. } = signing;
    format!(
        "{} for {}, {per_minute} in a minute, since {}",
        count(*signatures, "signature"),
        count(*handshakes, "handshake"),
        local(signing.since, &out.zone)
    )
}

/// A number of seconds in its largest unit of which there are at least two.
pub(super) fn span(seconds: u64) -> String {
    for (unit, length) in [("d", 24 * 3600), ("h", 3600), ("min", 60)] {
        if seconds >= 2 * length {
            return format!("{} {unit}", seconds / length);
        }
    }
    format!("{seconds} s")
}

/// `1 site`, `2 sites`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_told_in_the_largest_unit_that_fits_twice() {
        let now = Timestamp::from_unix(1_000_000);
        let table = [
            (0, "now"),
            (1, "in 1 s"),
            (119, "in 119 s"),
            (120, "in 2 min"),
            (7199, "in 119 min"),
            (7200, "in 2 h"),
            (172_799, "in 47 h"),
            (59 * 86_400 + 5, "in 59 d"),
            (-1, "1 s ago"),
            (-7200, "2 h ago"),
            (-86_400 * 3, "3 d ago"),
        ];
        for (seconds, expected) in table {
            let at = Timestamp::from_unix_signed(1_000_000 + seconds);
            assert_eq!(relative(Moment(at), now), expected);
        }
    }

    #[test]
    fn times_are_told_in_the_zone_of_the_reader_with_its_name() {
        let moment = Moment(Timestamp::from_unix(1_700_000_000));
        assert_eq!(local(moment, &TimeZone::UTC), "2023-11-14 22:13:20 UTC");
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(local(moment, &zone), "2023-11-14 23:13:20 CET");
        let far = Moment(Timestamp::from_unix(u64::MAX));
        assert_eq!(local(far, &zone), format!("@{}", u64::MAX));
    }
}
