//! Why the vault does not do what it was asked, as a kind that a frame names.

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The master key cannot be used.
    MasterKey,
    /// Not sealed under this master key, or damaged.
    Seal,
    /// Not what this key may sign, or not what it was said to be.
    Purpose,
    /// The cryptographic library refused.
    Crypto,
    /// A wall that must stand does not.
    Wall,
}

/// Where each stands in a frame.
pub(super) const REFUSALS: [Refusal; 5] =
    [Refusal::MasterKey, Refusal::Seal, Refusal::Purpose, Refusal::Crypto, Refusal::Wall];
