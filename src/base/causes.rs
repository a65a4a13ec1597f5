//! An error together with what lies behind it.

use std::error::Error;

/// The error's text, then each cause after a colon, in one line; a cause that was quoted already
/// is not said again.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let said = deeper.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the house is closed")]
    struct Closed(#[source] std::io::Error);

    #[test]
    fn every_cause_is_told_once() {
        let error = Closed(std::io::Error::other("no key"));
        assert_eq!(with_causes(&error), "the house is closed: no key");
        let quoting = std::io::Error::other(error);
        assert_eq!(with_causes(&quoting), "the house is closed: no key");
    }
}
