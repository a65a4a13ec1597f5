//! The one form of a path, by which routes are chosen and which origins are asked for.
//!
//! Escapes of what needs none are undone, dot segments and doubled slashes are taken out (RFC 3986,
//! section 6.2.2). Some origins read more into a path: a slash behind `%2f` or `\`, parameters behind
//! `;`. That reading is here too, so that a path whose readings lead to different routes is refused.
//! Deliberately absent: origins that undo escapes twice, and those to which `/A` and `/a` are the same.

use std::borrow::Cow;

/// A path in its form. Begins with a slash, has no empty segment but at its end, and no dots.
pub(super) fn normal(raw: &str) -> Option<Cow<'_, str>> {
    if is_normal(raw.as_bytes()) {
        return Some(Cow::Borrowed(raw));
    }
    let mut plain = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        match high << 4 | low {
            // The end of a text, to many an origin.
            0 => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => plain.push(byte),
            _ => plain.extend([b'%', upper(high), upper(low)]),
        }
    }
    // Escapes were undone to letters of ASCII alone.
    let plain = String::from_utf8(plain).ok()?;
    without_dots(&plain).map(Cow::Owned)
}

/// How an origin may read a path that is in its form, if it undoes every escape, takes `\` for a slash
/// and drops parameters. `None` when that finds dots where there were none: whoever sends that wants
/// to get out of something.
pub(super) fn loose(path: &str) -> Option<Cow<'_, str>> {
    if !path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b';')) {
        return Some(Cow::Borrowed(path));
    }
    let mut text = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            byte => byte,
        };
        text.push(if byte == b'\\' { b'/' } else { byte });
    }
    let mut read = String::new();
    let text = String::from_utf8_lossy(&text);
    let ended = text.ends_with('/');
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" => {}
            "." | ".." => return None,
            segment => {
                read.push('/');
                read.push_str(segment);
            }
        }
    }
    if ended || read.is_empty() {
        read.push('/');
    }
    Some(Cow::Owned(read))
}

/// Whether there is nothing to be done, as mostly: a look at each octet.
fn is_normal(path: &[u8]) -> bool {
    let after_slash = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
    path.first() == Some(&b'/') && !path.contains(&b'%') && !path.windows(2).any(after_slash)
}

fn without_dots(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.strip_prefix('/')?.split('/') {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            // Above the root there is nothing to ask for.
            ".." => drop(kept.pop()?),
            segment => kept.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len());
    for segment in &kept {
        text.push('/');
        text.push_str(segment);
    }
    if open || kept.is_empty() {
        text.push('/');
    }
    Some(text)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

const fn upper(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (raw, form) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("//a///b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/%61%2e%2E/%7Eb", "/a../~b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%2fb%5c%3b", "/a%2Fb%5C%3B"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/%C3%a9", "/%C3%A9"),
            ("/%252e%252e/", "/%252e%252e/"),
        ] {
            assert_eq!(normal(raw).as_deref(), Some(form), "{raw}");
            assert_eq!(normal(form).as_deref(), Some(form), "the form of a form: {raw}");
        }
        for bad in ["/%00", "/a%", "/a%2", "/%zz", "/../a", "/a/../../b", "/%2e%2e", "", "a", "*"] {
            assert_eq!(normal(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_loose_reading_sees_slashes_behind_escapes_and_no_parameters() {
        for (form, read) in [
            ("/a/b", "/a/b"),
            ("/a%2Fb", "/a/b"),
            ("/a%5Cb\\c", "/a/b/c"),
            ("/a;x=1/b;y", "/a/b"),
            ("/;x/a", "/a"),
            ("/%2Fa", "/a"),
            ("/a%3Bx/b", "/a/b"),
            ("/a%2F", "/a/"),
            ("/;", "/"),
            ("/%C3%A9", "/é"),
        ] {
            assert_eq!(loose(form).as_deref(), Some(read), "{form}");
        }
        for out in ["/a%2F..%2Fb", "/..;/a", "/a/.;x/", "/a\\..\\b", "/..%5Ca"] {
            assert_eq!(loose(out), None, "{out}");
        }
    }
}
