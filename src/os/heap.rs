//! Room on the heap of a thread, mapped ahead.
//!
//! The allocator of glibc gives each thread a heap of its own, and has the kernel open it for writing a
//! page or two at a time: a call of `mprotect`, and the kernel's work on its mappings, for every few
//! kilobytes that are filled for the first time. What was opened once stays open when it is given back,
//! so it is taken and given back in one go beforehand. Untouched, it takes no memory. With another
//! allocator this changes nothing.

use std::hint::black_box;

/// Octets that are taken at a time: less than what the allocator maps by itself (`M_MMAP_THRESHOLD`).
const PIECE: usize = 96 * 1024;

/// Opens the next `octets` of the calling thread's heap; at most what glibc gives a heap, 64 MiB.
pub fn open_ahead(octets: usize) {
    let pieces: Vec<Vec<u8>> =
        (0..octets / PIECE).map(|_| black_box(Vec::with_capacity(PIECE))).collect();
    drop(pieces);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mapping in which `address` lies, and what of it is in memory, in octets.
    fn mapping(address: usize) -> (usize, usize) {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        let range = |line: &str| {
            let (from, to) = line.split_whitespace().next()?.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            Some((number(from)?, number(to)?))
        };
        let (from, to) = lines
            .by_ref()
            .find_map(|line| range(line).filter(|(from, to)| (*from..*to).contains(&address)))
            .unwrap();
        let resident = lines.find(|line| line.starts_with("Rss:")).unwrap();
        let resident: usize = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
        (to - from, resident * 1024)
    }

    #[test]
    fn what_is_opened_ahead_stays_open_and_takes_no_memory() {
        const MORE: usize = 8 * 1024 * 1024;
        let thread = std::thread::spawn(|| {
            // Larger than what a thread finds among the leftovers of the one that started it.
            let value = vec![1_u8; 3000];
            let at = value.as_ptr().addr();
            // The heap may be that of a thread that has ended, and has something open already.
            let before = mapping(at);
            open_ahead(before.0 + MORE);
            (before, mapping(at))
        });
        let (before, after) = thread.join().unwrap();
        assert!(after.0 >= before.0 + MORE / 2, "{before:?} {after:?}");
        assert!(after.1 <= before.1 + MORE / 8, "{before:?} {after:?}");
    }
}
