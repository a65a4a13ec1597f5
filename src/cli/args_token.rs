//! What may be written after `token`.

use clap::Subcommand;

/// Tokens, by which a program is a client without being its user.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and print it, once
    Create {
        /// A client of the configuration (`[[client]]`), as whom its bearer acts
        client: String,
        /// What it is called
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// What may be asked for with it, of what the client may: read, issue, deploy, operate
        #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = SCOPES)]
        scopes: Vec<String>,
        /// For how long it is good, such as 12h, 90d or 52w; without this, until it is revoked
        #[arg(long, value_name = "TIME", value_parser = span)]
        expires: Option<u64>,
    },
    /// List the tokens
    List {
        /// Only those of this client
        client: Option<String>,
    },
    /// Take a token back; it lets nobody in from then on
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}

const SCOPES: [&str; 4] = ["read", "issue", "deploy", "operate"];

/// Seconds of a number with a unit.
fn span(text: &str) -> Result<u64, String> {
    let expected = || "expected a number and one of m, h, d, w, such as 90d".to_owned();
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        Some('w') => 7 * 24 * 3600,
        _ => return Err(expected()),
    };
    let number = text.get(..text.len() - 1).and_then(|digits| digits.parse::<u32>().ok());
    let number = number.filter(|number| *number > 0).ok_or_else(expected)?;
    Ok(u64::from(number) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_number_and_a_unit() {
        assert_eq!(span("90d"), Ok(90 * 86_400));
        assert_eq!((span("5m"), span("12h"), span("2w")), (Ok(300), Ok(43_200), Ok(1_209_600)));
        for bad in ["", "d", "0d", "-1d", "90", "9999999999d", "1y", "1.5d", "\u{e4}"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
