//! `Retry-After`, which is a count of seconds or a date (RFC 9110, section 10.2.3).

use std::time::Duration;

use crate::base::Timestamp;

/// When to come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RetryAfter {
    /// After so many seconds.
    Seconds(u64),
    /// At this moment, by the CA's clock.
    Moment(Timestamp),
}

impl RetryAfter {
    /// Reads the field's value; `None` when it is neither a count nor a date.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Seconds(text.parse().unwrap_or(u64::MAX)));
        }
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self::Moment(Timestamp::from_unix_signed(date.as_second())))
    }

    /// From `now` until then; zero when it is past.
    pub(super) fn delay(self, now: Timestamp) -> Duration {
        match self {
            Self::Seconds(seconds) => Duration::from_secs(seconds),
            Self::Moment(at) => at.since(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_dates_are_read_and_nothing_else() {
        let now = Timestamp::from_unix(1_445_412_470);
        let delay = |text: &str| RetryAfter::parse(text).map(|r| r.delay(now).as_secs());
        assert_eq!(delay("120"), Some(120));
        assert_eq!(delay(" 0 "), Some(0));
        assert_eq!(delay("Wed, 21 Oct 2015 07:28:00 GMT"), Some(10));
        assert_eq!(delay("Fri, 31 Dec 1999 23:59:59 GMT"), Some(0));
        assert_eq!(delay("99999999999999999999999"), Some(u64::MAX));
        for bad in ["", "soon", "-5", "1.5", "2026-01-01T00:00:00Z"] {
            assert_eq!(delay(bad), None, "{bad}");
        }
    }
}
