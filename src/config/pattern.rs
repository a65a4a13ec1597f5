//! Patterns of paths, such as `/api/*`: what they match, and which covers which.
//!
//! A pattern is read segment by segment and knows nothing of escapes: paths come to it in the one
//! form that the front door makes of them.

use std::fmt;

/// What paths a route is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    /// `None` is any one segment that is not empty.
    segments: Vec<Option<Box<str>>>,
    /// Whether anything may follow, as after `/*` at the end.
    open: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("it does not begin with /")]
    NoSlash,
    #[error("a star is a whole segment")]
    Star,
    #[error("it has an empty segment, . or .. in it")]
    Dots,
    #[error("it has a character that stands in no path, or one that is written as itself there")]
    Character,
}

impl fmt::Display for PathPattern {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{}", segment.as_deref().unwrap_or("*"))?;
        }
        f.write_str(if self.open { "/*" } else { "" })
    }
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let inner = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        let (inner, open) = match inner.strip_suffix('*') {
            Some("") => ("", true),
            Some(before) => match before.strip_suffix('/') {
                Some(before) => (before, true),
                None => return Err(PatternError::Star),
            },
            None => (inner, false),
        };
        let mut segments = Vec::new();
        if !(open && inner.is_empty()) {
            let mut parts = inner.split('/').peekable();
            while let Some(part) = parts.next() {
                // A slash at the end is an empty segment, which is a segment of its own.
                let last = parts.peek().is_none();
                segments.push(match part {
                    "*" => None,
                    "" if last && !open => Some("".into()),
                    "" | "." | ".." => return Err(PatternError::Dots),
                    part if part.contains('*') => return Err(PatternError::Star),
                    part if !is_segment(part) => return Err(PatternError::Character),
                    part => Some(part.into()),
                });
            }
        }
        Ok(Self { segments, open })
    }

    /// What of `path` the star at the end stands for, or nothing where there is none; `None` if the
    /// path is not one of these. `/api/*` is for `/api` too.
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut left = Some(path.strip_prefix('/')?);
        for wanted in &self.segments {
            let (segment, after) = match left?.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (left?, None),
            };
            let fits = match wanted {
                Some(wanted) => **wanted == *segment,
                None => !segment.is_empty(),
            };
            if !fits {
                return None;
            }
            left = after;
        }
        match left {
            Some(rest) if self.open => Some(rest),
            None => Some(""),
            Some(_) => None,
        }
    }

    /// Whether every path of `other` is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        let wide = |(mine, theirs): (&Option<Box<str>>, &Option<Box<str>>)| match (mine, theirs) {
            (None, None) => true,
            (None, Some(theirs)) => !theirs.is_empty(),
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => mine == theirs,
        };
        let alike = self.segments.iter().zip(&other.segments).all(wide);
        if self.open {
            alike && self.segments.len() <= other.segments.len()
        } else {
            alike && !other.open && self.segments.len() == other.segments.len()
        }
    }

    /// Whether there is a star at the end.
    pub const fn is_open(&self) -> bool {
        self.open
    }
}

/// Whether a path in its form may have this segment: escapes stand for what needs them, in capitals.
fn is_segment(part: &str) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_lowercase());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !is_plain(byte) {
                return false;
            }
            continue;
        }
        let (high, low) = (bytes.next().and_then(digit), bytes.next().and_then(digit));
        let (Some(high), Some(low)) = (high, low) else { return false };
        let meant = u8::try_from(high * 16 + low).unwrap_or(0);
        if meant == 0 || meant.is_ascii_alphanumeric() || b"-._~".contains(&meant) {
            return false;
        }
    }
    true
}

/// What stands in a path as itself, in the form that the front door makes (RFC 3986, section 3.3).
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    #[test]
    fn a_pattern_is_for_whole_segments() {
        for (text, path, rest) in [
            ("/api/*", "/api", Some("")),
            ("/api/*", "/api/", Some("")),
            ("/api/*", "/api/a/b", Some("a/b")),
            ("/api/*", "/apiary", None),
            ("/api/*", "/API/a", None),
            ("/api", "/api", Some("")),
            ("/api", "/api/", None),
            ("/api", "/api/a", None),
            ("/api/", "/api/", Some("")),
            ("/api/", "/api", None),
            ("/", "/", Some("")),
            ("/", "/a", None),
            ("/*", "/", Some("")),
            ("/*", "/a/b/", Some("a/b/")),
            ("/u/*/x", "/u/1/x", Some("")),
            ("/u/*/x", "/u/1/2/x", None),
            ("/u/*/x", "/u//x", None),
            ("/u/*/*", "/u/1/a/b", Some("a/b")),
            ("/u/*/*", "/u/", None),
            ("/*", "*", None),
            ("/*", "", None),
        ] {
            assert_eq!(pattern(text).rest(path), rest, "{text} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "", "api", "*", "/a*", "/*a", "/a**", "/a//b", "/../a", "/./", "/a b", "/a?b", "/a#",
            "/é", "//", "/%", "/%2", "/%2f", "/%61", "/%00",
        ] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_covers_another_if_it_leaves_it_nothing() {
        for (wide, narrow) in [
            ("/*", "/"),
            ("/*", "/a/*/b"),
            ("/a/*", "/a"),
            ("/a/*", "/a/*"),
            ("/a/*", "/a/b/c"),
            ("/*/b", "/a/b"),
            ("/a", "/a"),
        ] {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
        }
        for (one, two) in [
            ("/a/*", "/*"),
            ("/a", "/a/*"),
            ("/a/b", "/*/b"),
            ("/a/*", "/b"),
            ("/a/b/*", "/a/*"),
            ("/a", "/a/"),
            ("/*/x", "/a/*"),
        ] {
            assert!(!pattern(one).covers(&pattern(two)), "{one} {two}");
        }
    }
}
