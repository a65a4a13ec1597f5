//! What a vault has done, as numbers in an order that both halves know.

use super::keyring::Figures;

/// How many figures a vault has.
pub(super) const FIGURES: usize = 12;

/// What the present vault has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VaultFigures {
    /// Keys that were open when they were asked for.
    pub hits: u64,
    /// Keys that had to be sent along.
    pub misses: u64,
    /// Keys open now.
    pub open: u64,
    /// Bytes they take.
    pub open_bytes: u64,
    /// Signatures made.
    pub signatures: u64,
    /// Requests that were refused.
    pub refusals: u64,
    /// Sealed keys that were opened.
    pub opened: u64,
    /// Keys that were pushed out for others.
    pub evictions: u64,
    /// Keys that cannot be pushed out, because they are the busiest.
    pub pinned: u64,
    /// Keys that were opened because they were busy in an earlier run.
    pub warmed: u64,
    /// Sealed keys that were not tried, because they had just been refused.
    pub negative: u64,
    /// Signatures, of those that were made, that were asked for together with others.
    pub together: u64,
}

impl VaultFigures {
    /// Reads what [`numbers`] wrote.
    pub(super) const fn of(numbers: [u64; FIGURES]) -> Self {
        let [hits, misses, open, open_bytes, signatures, refusals, more @ ..] = numbers;
        let [opened, evictions, pinned, warmed, negative, together] = more;
        Self {
            hits,
            misses,
            open,
            open_bytes,
            signatures,
            refusals,
            opened,
            evictions,
            pinned,
            warmed,
            negative,
            together,
        }
    }
}

/// What goes over the wire.
pub(super) const fn numbers(figures: &Figures, refusals: u64) -> [u64; FIGURES] {
    let Figures { hits, misses, open, bytes, signatures, .. } = *figures;
    let Figures { opened, evictions, pinned, warmed, negative, together, .. } = *figures;
    [
        hits, misses, open, bytes, signatures, refusals, opened, evictions, pinned, warmed,
        negative, together,
    ]
}
