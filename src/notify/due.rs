//! When something is told: errors at once, and everything else when the channel likes.

use jiff::ToSpan as _;
use jiff::ZonedDateTime;
use jiff::civil;
use jiff::tz::TimeZone;

use crate::base::Timestamp;
use crate::cert::journal::Level;
use crate::config::Channel;
use crate::config::Digest;
use crate::config::Quiet;
use crate::config::TimeOfDay;

/// The time zone of a channel. A name that was there when the file was read, and is not any more, is
/// that of the machine.
pub(super) fn zone(channel: &Channel) -> TimeZone {
    let named = channel.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(TimeZone::system)
}

/// When `channel` tells of something that matters as much as `level` and happened at `at`, the first of
/// what waits; it may be long ago.
pub(super) fn due(channel: &Channel, zone: &TimeZone, level: Level, at: Timestamp) -> Timestamp {
    if level == Level::Error {
        return at;
    }
    let collected = match channel.digest {
        None => at,
        Some(Digest::Every(time)) => at.plus(time),
        Some(Digest::Daily(time)) => next(zone, at, time),
    };
    match channel.quiet {
        Some(quiet) if is_quiet(zone, collected, quiet) => next(zone, collected, quiet.to),
        _ => collected,
    }
}

fn local(zone: &TimeZone, at: Timestamp) -> Option<ZonedDateTime> {
    let seconds = i64::try_from(at.as_unix()).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_zoned_datetime(zone.clone()))
}

fn clock(time: TimeOfDay) -> civil::Time {
    civil::Time::new(time.hour, time.minute, 0, 0).unwrap_or_default()
}

fn is_quiet(zone: &TimeZone, at: Timestamp, quiet: Quiet) -> bool {
    let Some(now) = local(zone, at).map(|local| local.time()) else { return false };
    let (from, to) = (clock(quiet.from), clock(quiet.to));
    if from <= to { from <= now && now < to } else { from <= now || now < to }
}

/// The first moment after `at` at which clocks show `time`; what they never show on the day on which
/// they are put forward is an hour later.
fn next(zone: &TimeZone, at: Timestamp, time: TimeOfDay) -> Timestamp {
    let after = |at: Timestamp| -> Option<Timestamp> {
        let now = local(zone, at)?;
        for day in 0..3 {
            let date = now.date().checked_add(day.days()).ok()?;
            let moment = date.to_datetime(clock(time)).to_zoned_datetime(zone.clone()).ok()?;
            if moment > now {
                return Some(Timestamp::from_unix_signed(moment.timestamp().as_second()));
            }
        }
        None
    };
    after(at).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Form;
    use crate::config::Place;
    use crate::config::Way;
    use crate::config::Webhook;

    fn channel(quiet: Option<&str>, digest: Option<Digest>) -> Channel {
        let way = Way::Webhook(Webhook {
            url: Place::Url(String::new()),
            form: Form::Json,
            secret: None,
            chat: None,
            ca: None,
        });
        let time = |text| TimeOfDay::parse(text).unwrap();
        let quiet = quiet.map(|text| {
            let (from, to) = text.split_once('-').unwrap();
            Quiet { from: time(from), to: time(to) }
        });
        let zone = Some("Europe/Berlin".to_owned());
        let (name, level) = (String::new(), Level::Info);
        let (events, names) = (Vec::new(), Vec::new());
        Channel { name, way, level, events, about: names, quiet, digest, zone }
    }

    fn moment(text: &str) -> Timestamp {
        let moment: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_unix_signed(moment.as_second())
    }

    fn told(channel: &Channel, level: Level, at: &str) -> String {
        due(channel, &zone(channel), level, moment(at)).to_string()
    }

    #[test]
    fn errors_are_told_at_once_and_the_rest_after_quiet_hours() {
        let night = channel(Some("22:00-07:00"), None);
        // 23:30 in Berlin, in summer.
        let late = "2026-07-01T21:30:00Z";
        assert_eq!(told(&night, Level::Error, late), late);
        assert_eq!(told(&night, Level::Warning, late), "2026-07-02T05:00:00Z");
        // 02:00, and in winter.
        assert_eq!(told(&night, Level::Info, "2026-12-01T01:00:00Z"), "2026-12-01T06:00:00Z");
        // The first and the last moment of it.
        let (first, last) = ("2026-12-01T21:00:00Z", "2026-12-02T06:00:00Z");
        assert_eq!(told(&night, Level::Info, first), last);
        assert_eq!(told(&night, Level::Info, last), last);
        let noon = channel(Some("12:00-14:00"), None);
        assert_eq!(told(&noon, Level::Info, "2026-12-01T12:00:00Z"), "2026-12-01T13:00:00Z");
        assert_eq!(told(&noon, Level::Info, "2026-12-01T20:00:00Z"), "2026-12-01T20:00:00Z");
    }

    #[test]
    fn a_digest_is_told_at_its_time_of_day_or_so_long_after_the_first() {
        let daily = channel(None, Some(Digest::Daily(TimeOfDay { hour: 8, minute: 0 })));
        assert_eq!(told(&daily, Level::Info, "2026-12-01T06:59:00Z"), "2026-12-01T07:00:00Z");
        // On the hour itself something new is for the next day.
        assert_eq!(told(&daily, Level::Info, "2026-12-01T07:00:00Z"), "2026-12-02T07:00:00Z");
        assert_eq!(told(&daily, Level::Error, "2026-12-01T07:00:00Z"), "2026-12-01T07:00:00Z");
        let hourly = channel(Some("22:00-07:00"), Some(Digest::Every(Duration::from_secs(3600))));
        assert_eq!(told(&hourly, Level::Info, "2026-12-01T10:00:00Z"), "2026-12-01T11:00:00Z");
        // Collected into the night.
        assert_eq!(told(&hourly, Level::Info, "2026-12-01T20:30:00Z"), "2026-12-02T06:00:00Z");
    }

    #[test]
    fn a_time_that_clocks_leave_out_is_told_all_the_same() {
        // On 2026-03-29 clocks in Berlin went from 02:00 to 03:00.
        let daily = channel(None, Some(Digest::Daily(TimeOfDay { hour: 2, minute: 30 })));
        assert_eq!(told(&daily, Level::Info, "2026-03-28T12:00:00Z"), "2026-03-29T01:30:00Z");
    }
}
