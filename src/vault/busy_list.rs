//! The list of the busiest keys as it lies on the disk: names and heats, nothing secret.
//!
//! A hint, not a record: one that cannot be read costs some slower first handshakes, and is
//! replaced by the next. Text, one key a line, so that a person can look at it.

use std::io;
use std::path::Path;

use crate::base::bounds;
use crate::base::disk;
use crate::cert::key::KeyId;

/// First line of every list.
const TITLE: &str = "keyward busiest keys 1";

/// Octets of the longest line: a name, a space, twenty digits, and the end of the line.
const LINE: usize = 64 + 1 + 20 + 1;

/// A key and how busy it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Busy {
    /// Its name.
    pub key: KeyId,
    /// Signatures of late, older ones counting less.
    pub heat: u64,
}

/// Why there is no list to be had of a file.
#[derive(Debug, thiserror::Error)]
pub enum BusyListError {
    /// It cannot be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// No list is that large.
    #[error("has {octets} bytes, expected at most {limit}")]
    Long {
        /// How large it is.
        octets: u64,
        /// How large a list may be.
        limit: usize,
    },
    /// A line is not what it should be.
    #[error("line {number}: expected {expected}")]
    Line {
        /// Which, from 1 on.
        number: usize,
        /// What should stand there.
        expected: &'static str,
    },
}

/// Reads the list at `path`; none of a file that is not there.
///
/// # Errors
/// [`BusyListError`] when the file is none, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<Busy>, BusyListError> {
    let limit = TITLE.len() + 1 + bounds::VAULT_BUSIEST * LINE;
    let text = match std::fs::metadata(path) {
        Ok(found) if usize::try_from(found.len()).is_ok_and(|octets| octets <= limit) => {
            std::fs::read(path)?
        }
        Ok(found) => return Err(BusyListError::Long { octets: found.len(), limit }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    parse(&String::from_utf8_lossy(&text))
}

/// Puts `list` in the place of the one at `path`, durably.
///
/// # Errors
/// What the file system says; the old list then still stands.
pub fn write(path: &Path, list: &[Busy]) -> io::Result<()> {
    disk::replace(path, format(list).as_bytes(), 0o600)
}

fn format(list: &[Busy]) -> String {
    let mut text = format!("{TITLE}\n");
    for Busy { key, heat } in list.iter().take(bounds::VAULT_BUSIEST) {
        text.push_str(&format!("{} {heat}\n", key.to_hex()));
    }
    text
}

fn parse(text: &str) -> Result<Vec<Busy>, BusyListError> {
    let wrong = |number, expected| BusyListError::Line { number, expected };
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(wrong(1, TITLE));
    }
    let parsed = lines.take(bounds::VAULT_BUSIEST).enumerate().map(|(at, line)| {
        let wrong = wrong(at + 2, "64 hexadecimal digits, a space, a number");
        let Some((key, heat)) = line.split_once(' ') else { return Err(wrong) };
        match (KeyId::from_hex(key), heat.parse()) {
            (Some(key), Ok(heat)) => Ok(Busy { key, heat }),
            _ => Err(wrong),
        }
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(
            heats in proptest::collection::vec((any::<[u8; 32]>(), any::<u64>()), 0..20),
        ) {
            let list: Vec<_> =
                heats.into_iter().map(|(id, heat)| Busy { key: KeyId(id), heat }).collect();
            prop_assert_eq!(parse(&format(&list)).unwrap(), list);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", rest in "[0-9a-f \n]{0,200}") {
            let _any = parse(&text);
            let _any = parse(&format!("{TITLE}\n{rest}"));
        }
    }

    #[test]
    fn what_is_no_list_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busiest");
        assert!(read(&path).unwrap().is_empty());
        let told = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert_eq!(told(b""), format!("line 1: expected {TITLE}"));
        let line = "expected 64 hexadecimal digits, a space, a number";
        let good = format(&[Busy { key: KeyId([0xa5; 32]), heat: 3 }]);
        for wrong in ["a5 3", "", &format!("{} -1", KeyId([1; 32]).to_hex())] {
            assert_eq!(told(format!("{good}{wrong}\n").as_bytes()), format!("line 3: {line}"));
        }
        let told = told(&vec![b'0'; 1 << 20]);
        assert!(told.starts_with("has 1048576 bytes, expected at most"), "{told}");
    }

    #[test]
    fn a_list_replaces_the_one_before_and_is_never_longer_than_it_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busiest");
        let many = vec![Busy { key: KeyId([1; 32]), heat: u64::MAX }; bounds::VAULT_BUSIEST + 7];
        write(&path, &many).unwrap();
        assert_eq!(read(&path).unwrap().len(), bounds::VAULT_BUSIEST);
        write(&path, &many[..1]).unwrap();
        assert_eq!(read(&path).unwrap(), many[..1]);
    }
}
