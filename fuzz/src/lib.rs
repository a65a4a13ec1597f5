//! Runs a property on one input, and counts what memory it takes: bytes of anyone must not make
//! the program grow out of proportion.

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use keyward::base::property::Property;

/// Names a directory into which a target writes its seeds before it does anything else.
const SEEDS: &str = "KEYWARD_FUZZ_SEEDS";

/// What any input may take: the tables of a vault with an empty keyring are the most of it.
const BASE: usize = 1024 * 1024;

/// And for each of its octets: what is parsed, its copies, and the text of what is wrong.
const EACH: usize = 64;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all of it; beside it only numbers change.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed).wrapping_add(layout.size());
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as promised to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised to us.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Checks `property` for `bytes`, and that this took no more memory than it may.
pub fn run(property: Property, bytes: &[u8]) {
    static WARM: Once = Once::new();
    // What is made once and kept is nobody's growth.
    WARM.call_once(|| begin(property));
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    (property.check)(bytes);
    let grown = MOST.load(Ordering::Relaxed).saturating_sub(before);
    let limit = BASE + EACH * bytes.len();
    assert!(grown <= limit, "{} octets of input took {grown} of memory", bytes.len());
    let kept = NOW.load(Ordering::Relaxed).saturating_sub(before);
    assert!(kept <= BASE / 16, "{} octets of input left {kept} of memory taken", bytes.len());
}

fn begin(property: Property) {
    let directory = std::env::var_os(SEEDS).map(PathBuf::from);
    for (number, seed) in (property.seeds)().iter().enumerate() {
        if let Some(directory) = &directory {
            std::fs::write(directory.join(format!("seed-{number}")), seed).expect("a directory");
        }
        (property.check)(seed);
    }
}
