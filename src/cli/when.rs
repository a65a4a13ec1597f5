//! Moments as people write them, in their own time zone unless they say another.

use jiff::Timestamp as Moment;
use jiff::ZonedDateTime;
use jiff::civil::Date;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::base::Timestamp;

/// Reads the end of a time: a day, of which nothing is left out, or a moment.
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    until_in(text, &TimeZone::system())
}

fn until_in(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong = || {
        format!("{text:?} is no date: write 2027-01-31, 2027-01-31T12:00 or 2027-01-31T12:00+02:00")
    };
    // The most that is said first: a date is read from the head of everything else.
    if let Ok(zoned) = text.parse::<ZonedDateTime>() {
        return seconds(zoned.timestamp());
    }
    if let Ok(moment) = text.parse::<Moment>() {
        return seconds(moment);
    }
    if text.contains(['T', 't', ' ', ':']) {
        let civil = text.parse::<DateTime>().map_err(|_| wrong())?;
        let zoned = civil.to_zoned_datetime(zone.clone()).map_err(|_| wrong())?;
        return seconds(zoned.timestamp());
    }
    let day = text.parse::<Date>().map_err(|_| wrong())?;
    let next = day
        .tomorrow()
        .and_then(|next| next.to_zoned_datetime(zone.clone()))
        .map_err(|_| wrong())?;
    seconds(next.timestamp())
}

fn seconds(moment: Moment) -> Result<Timestamp, String> {
    match u64::try_from(moment.as_second()) {
        Ok(seconds) => Ok(Timestamp::from_unix(seconds)),
        Err(_) => Err("that was before 1970".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_meant_with_all_of_it_and_a_zone_counts_where_it_is_said() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let read = |text: &str| until_in(text, &berlin).map(|at| at.to_string());
        for (text, expected) in [
            ("2027-01-31", "2027-01-31T23:00:00Z"),
            ("2027-07-31", "2027-07-31T22:00:00Z"),
            ("2027-12-31", "2027-12-31T23:00:00Z"),
            ("2027-01-31T12:00", "2027-01-31T11:00:00Z"),
            ("2027-01-31 12:00:30", "2027-01-31T11:00:30Z"),
            ("2027-01-31T12:00+05:30", "2027-01-31T06:30:00Z"),
            ("2027-01-31T12:00Z", "2027-01-31T12:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "tomorrow", "2027-02-30", "31.1.2027", "2027-13-01", "1960-01-01", "12:00"]
        {
            assert!(read(text).is_err(), "{text}: {:?}", read(text));
        }
    }
}
