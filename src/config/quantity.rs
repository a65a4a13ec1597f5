//! Durations such as `10s` and sizes such as `64MiB`.

use std::time::Duration;

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum QuantityError {
    /// No whole number at the beginning.
    NoNumber,
    /// Nothing, or nothing known, behind the number.
    NoUnit,
    /// More than can be counted.
    TooLarge,
}

/// A whole number and one of `ms`, `s`, `m`, `h`.
pub(super) fn duration(text: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        _ => return Err(QuantityError::NoUnit),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or(QuantityError::TooLarge)
}

/// A whole number and one of `B`, `KiB`, `MiB`, `GiB`; in bytes.
pub(super) fn size(text: &str) -> Result<u64, QuantityError> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(QuantityError::NoUnit),
    };
    number.checked_mul(bytes).ok_or(QuantityError::TooLarge)
}

fn split(text: &str) -> Result<(u64, &str), QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(QuantityError::NoNumber);
    }
    let number = number.parse().map_err(|_| QuantityError::TooLarge)?;
    Ok((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_whole_number_and_a_unit() {
        for (text, expected) in [
            ("10s", Ok(Duration::from_secs(10))),
            ("250 ms", Ok(Duration::from_millis(250))),
            ("2m", Ok(Duration::from_secs(120))),
            ("1h", Ok(Duration::from_secs(3600))),
            ("10", Err(QuantityError::NoUnit)),
            ("10 parsecs", Err(QuantityError::NoUnit)),
            ("-1s", Err(QuantityError::NoNumber)),
            ("", Err(QuantityError::NoNumber)),
            ("99999999999999999999s", Err(QuantityError::TooLarge)),
            ("9999999999999999999h", Err(QuantityError::TooLarge)),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_in_powers_of_1024() {
        assert_eq!(size("64MiB"), Ok(64 * 1024 * 1024));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("12KiB"), Ok(12 * 1024));
        assert_eq!(size("64MB"), Err(QuantityError::NoUnit));
        assert_eq!(size("18446744073709551615GiB"), Err(QuantityError::TooLarge));
    }
}
