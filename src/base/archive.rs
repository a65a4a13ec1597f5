//! Files in one: written and read as tar (POSIX ustar), with the digests of all as the last of
//! them, in the form that `sha256sum -c` reads.
//!
//! So a person with `tar` and `sha256sum` needs no other program. Deliberately absent: everything
//! that is not a plain file below the top, and compression: what is put in here hardly shrinks.

use std::fmt::Write as _;
use std::io;
use std::io::Read;
use std::io::Write;

use ring::digest::Context;
use ring::digest::SHA256;

use crate::base::bounds;

/// Octets of a block: heads and contents begin with one.
const BLOCK: usize = 512;

/// The name of the last file.
const SUMS: &str = "SHA256SUMS";

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is something else, or damaged.
    #[error("not such an archive, or damaged: {0}")]
    Format(&'static str),
    /// A file in it is not what was put in.
    #[error("{name} was changed since it was put into the archive")]
    Changed {
        /// The file.
        name: String,
    },
    /// A file in it that nobody expects.
    #[error("it holds {name:?}, which is not expected there, or more than once")]
    Unexpected {
        /// The file.
        name: String,
    },
    /// The operating system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes an archive.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Seconds since 1970: the moment that all files have.
    moment: u64,
    sums: String,
}

impl<W: Write> Writer<W> {
    /// An archive of this moment.
    pub const fn new(out: W, moment: u64) -> Self {
        Self { out, moment, sums: String::new() }
    }

    /// Adds a file of `size` octets, of which no more and no fewer are read.
    ///
    /// # Errors
    /// When `content` ends earlier, the name or the size has no room in a head, or the system
    /// refuses.
    pub fn add(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        let sum = self.put(name, size, content)?;
        let _cannot_fail = writeln!(self.sums, "{sum}  {name}");
        Ok(())
    }

    /// Adds the digests, and ends the archive.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn finish(mut self) -> io::Result<W> {
        let sums = std::mem::take(&mut self.sums);
        self.put(SUMS, u64::try_from(sums.len()).unwrap_or(u64::MAX), sums.as_bytes())?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<String> {
        self.out.write_all(&head(name, size, self.moment)?)?;
        let mut hashing = Hashing { context: Context::new(&SHA256), out: &mut self.out };
        let copied = io::copy(&mut content.take(size), &mut hashing)?;
        let sum = hashing.sum();
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = padding(size);
        self.out.write_all([0; BLOCK].get(..rest).unwrap_or_default())?;
        Ok(sum)
    }
}

/// Reads an archive whole: for each file `open` says where its content goes, or `None` for one
/// that is not expected. Nothing that was written there counts before this returns without error.
///
/// # Errors
/// [`ArchiveError`]; above all when the digests do not match.
pub fn read<'s>(
    mut input: impl Read,
    mut open: impl FnMut(&str, u64) -> io::Result<Option<Box<dyn Write + 's>>>,
) -> Result<(), ArchiveError> {
    let mut found = String::new();
    for _ in 0..=bounds::backup::ARCHIVE_FILES {
        let mut block = [0; BLOCK];
        input.read_exact(&mut block).map_err(ended)?;
        let (name, size) = parse(&block)?;
        if name == SUMS {
            let mut sums = Vec::new();
            if size > bounds::backup::ARCHIVE_SUMS {
                return Err(ArchiveError::Format("its list of digests is too long"));
            }
            input.take(size).read_to_end(&mut sums)?;
            return compare(&found, &sums);
        }
        let Some(mut sink) = open(&name, size)? else {
            return Err(ArchiveError::Unexpected { name });
        };
        let mut hashing = Hashing { context: Context::new(&SHA256), out: &mut sink };
        let copied = io::copy(&mut (&mut input).take(size), &mut hashing)?;
        let sum = hashing.sum();
        sink.flush()?;
        if copied != size {
            return Err(ArchiveError::Format("it ends early"));
        }
        let _cannot_fail = writeln!(found, "{sum}  {name}");
        let rest = padding(size);
        input.read_exact(block.get_mut(..rest).unwrap_or_default()).map_err(ended)?;
    }
    Err(ArchiveError::Format("it holds too many files"))
}

fn ended(error: io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Format("it ends early"),
        _ => ArchiveError::Io(error),
    }
}

/// The digests of what was read are those of what was written, in the same order.
fn compare(found: &str, written: &[u8]) -> Result<(), ArchiveError> {
    let written = str::from_utf8(written).map_err(|_| ArchiveError::Format("its digests"))?;
    if found == written {
        return Ok(());
    }
    let changed = found.lines().find(|line| !written.lines().any(|known| known == *line));
    match changed.and_then(|line| line.split_once("  ")) {
        Some((_, name)) => Err(ArchiveError::Changed { name: name.to_owned() }),
        None => Err(ArchiveError::Format("its digests name other files")),
    }
}

/// Octets after a content of `size` until the next block.
fn padding(size: u64) -> usize {
    let within = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - within) % BLOCK
}

/// Where a head keeps what (POSIX.1-2024, pax, ustar interchange format).
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;

fn head(name: &str, size: u64, moment: u64) -> io::Result<[u8; BLOCK]> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| {
        let place = head.get_mut(at..at + text.len()).ok_or_else(invalid)?;
        place.copy_from_slice(text);
        Ok::<_, io::Error>(())
    };
    let size = format!("{size:011o}\0");
    if name.len() >= NAME.end || size.len() != SIZE.len() {
        return Err(invalid());
    }
    put(NAME.start, name.as_bytes())?;
    // Mode 0600, user and group 0.
    put(100, b"0000600\x00")?;
    put(108, b"0000000\x00")?;
    put(116, b"0000000\x00")?;
    put(SIZE.start, size.as_bytes())?;
    put(136, format!("{:011o}\0", moment & 0o77_777_777_777).as_bytes())?;
    put(CHECKSUM.start, b"        ")?;
    put(KIND, b"0")?;
    put(257, b"ustar\x00")?;
    put(263, b"00")?;
    let sum: u32 = head.iter().map(|octet| u32::from(*octet)).sum();
    let text = format!("{sum:06o}\0 ");
    head.get_mut(CHECKSUM).ok_or_else(invalid)?.copy_from_slice(text.as_bytes());
    Ok(head)
}

/// Name and size, of a plain file and nothing else.
fn parse(head: &[u8; BLOCK]) -> Result<(String, u64), ArchiveError> {
    let field = |range: std::ops::Range<usize>| head.get(range).unwrap_or_default();
    let damaged = || ArchiveError::Format("the head of a file in it");
    let blank = head
        .iter()
        .enumerate()
        .map(|(at, octet)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *octet }));
    if octal(field(CHECKSUM)) != Some(u64::from(blank.sum::<u32>())) {
        return Err(damaged());
    }
    if !matches!(head.get(KIND), Some(b'0' | 0)) {
        return Err(ArchiveError::Format("it holds something that is no plain file"));
    }
    let name = field(NAME).split(|octet| *octet == 0).next().unwrap_or_default();
    let name = str::from_utf8(name).map_err(|_| damaged())?.to_owned();
    Ok((name, octal(field(SIZE)).ok_or_else(damaged)?))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// Writes through, and computes the digest.
struct Hashing<'o, W> {
    context: Context,
    out: &'o mut W,
}

impl<W> Hashing<'_, W> {
    fn sum(self) -> String {
        self.context.finish().as_ref().iter().fold(String::new(), |mut text, octet| {
            let _cannot_fail = write!(text, "{octet:02x}");
            text
        })
    }
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.context.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    type Files = BTreeMap<String, Vec<u8>>;

    fn written(files: &Files) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 1_800_000_000);
        for (name, content) in files {
            writer.add(name, content.len() as u64, content.as_slice()).unwrap();
        }
        writer.finish().unwrap()
    }

    #[derive(Clone, Default)]
    struct Sink(Rc<RefCell<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn reread(archive: &[u8]) -> Result<Files, ArchiveError> {
        let mut sinks = BTreeMap::<String, Sink>::new();
        read(archive, |name, _| {
            let sink = Sink::default();
            sinks.insert(name.to_owned(), sink.clone());
            Ok(Some(Box::new(sink)))
        })?;
        Ok(sinks.into_iter().map(|(name, sink)| (name, sink.0.take())).collect())
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out_and_no_change_goes_unnoticed(
            files in proptest::collection::btree_map(
                "[a-z.]{1,20}",
                proptest::collection::vec(any::<u8>(), 0..1200),
                0..5,
            ),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let mut archive = written(&files);
            prop_assert_eq!(archive.len() % BLOCK, 0);
            prop_assert_eq!(&reread(&archive).unwrap(), &files);
            let cut = at.index(archive.len() - 2 * BLOCK);
            prop_assert!(reread(&archive[..cut]).map(|read| read == files).unwrap_or(true));
            archive[cut] ^= 1 << bit;
            // What pads a block, or the time, may change; no file does without being told.
            prop_assert!(reread(&archive).map(|read| read == files).unwrap_or(true));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(reread(&bytes).is_err());
        }
    }

    #[test]
    fn a_file_that_is_not_expected_is_named() {
        let archive = written(&Files::from([("../passwd".to_owned(), vec![1])]));
        let error = read(archive.as_slice(), |_, _| Ok(None)).unwrap_err();
        assert!(error.to_string().contains("../passwd"), "{error}");
    }

    #[test]
    fn a_person_needs_tar_and_sha256sum_only() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::from([("one".into(), vec![7; 600]), ("two".into(), Vec::new())]);
        std::fs::write(dir.path().join("a.tar"), written(&files)).unwrap();
        let line = "tar xf a.tar && sha256sum --strict -c SHA256SUMS";
        let ran = std::process::Command::new("sh").args(["-c", line]).current_dir(&dir).output();
        assert!(ran.unwrap().status.success());
        assert_eq!(std::fs::read(dir.path().join("one")).unwrap(), files["one"]);
    }
}
