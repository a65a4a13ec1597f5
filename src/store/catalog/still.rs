//! A file as a database that may be opened and never changes: what the library would write into
//! it stays in memory.
//!
//! After a crash the library notes even in a file that it only reads that it is at work on it. A
//! copy that is served beside a damaged store is left as it is, for whoever looks into the matter.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use redb::StorageBackend;

/// Octets of a block that is kept whole once something of it was written.
const BLOCK: usize = 4096;

/// The file, and what was written since.
#[derive(Debug)]
pub(super) struct Still {
    file: File,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    blocks: BTreeMap<u64, [u8; BLOCK]>,
    len: u64,
}

impl Still {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        // The library takes an empty one for one that is to be made.
        if len == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty"));
        }
        Ok(Self { file, written: Mutex::new(Written { blocks: BTreeMap::new(), len }) })
    }

    /// Block number `number`, as it is by now.
    fn block(&self, written: &Written, number: u64) -> io::Result<[u8; BLOCK]> {
        if let Some(block) = written.blocks.get(&number) {
            return Ok(*block);
        }
        let mut block = [0; BLOCK];
        let (mut filled, start) = (0, number.saturating_mul(size(BLOCK)));
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, start.saturating_add(size(filled))) {
                // What was added behind the end is zero.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(block)
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Still {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(size(out.len())) > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        each_block(offset, out.len(), |number, within, range| {
            let block = self.block(&written, number)?;
            if let (Some(to), Some(from)) = (out.get_mut(range), block.get(within)) {
                to.copy_from_slice(from);
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.written().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        each_block(offset, data.len(), |number, within, range| {
            let mut block = self.block(&written, number)?;
            if let (Some(to), Some(from)) = (block.get_mut(within), data.get(range)) {
                to.copy_from_slice(from);
            }
            written.blocks.insert(number, block);
            Ok(())
        })
    }
}

/// Calls `work` with each block that `length` octets from `offset` on touch: its number, the place
/// within it, and the place within those octets.
fn each_block(
    offset: u64,
    length: usize,
    mut work: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let at = offset.saturating_add(size(done));
        let from = usize::try_from(at % size(BLOCK)).unwrap_or(0);
        let count = (BLOCK - from).min(length - done);
        work(at / size(BLOCK), from..from + count, done..done + count)?;
        done += count;
    }
    Ok(())
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut expected: Vec<u8> =
            (0..3 * BLOCK + 100).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let original = expected.clone();
        std::fs::write(&path, &original).unwrap();
        let still = Still::open(&path).unwrap();
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..200 {
            let at = rng.usize(..expected.len());
            let length = rng.usize(..=(expected.len() - at).min(2 * BLOCK));
            let data: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
            still.write(size(at), &data).unwrap();
            expected[at..at + length].copy_from_slice(&data);
            let from = rng.usize(..expected.len());
            let mut out = vec![0; rng.usize(..=expected.len() - from)];
            still.read(size(from), &mut out).unwrap();
            assert_eq!(out, expected[from..from + out.len()]);
        }
        assert!(still.read(size(expected.len() - 1), &mut [0; 2]).is_err());
        still.set_len(size(expected.len() + BLOCK)).unwrap();
        let mut out = vec![1; BLOCK];
        still.read(size(expected.len()), &mut out).unwrap();
        assert!(out.iter().all(|octet| *octet == 0));
        assert_eq!(std::fs::read(&path).unwrap(), original);
    }
}
