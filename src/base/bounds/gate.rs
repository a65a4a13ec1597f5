//! Limits of the way from a worker to its thread of the vault, and of what is signed there.

use std::time::Duration;

/// Octets of the request slot of a gate, its three numbers included: a sealed RSA-4096 key fits
/// twice. Whole pages.
pub const VAULT_GATE_REQUEST: usize = 8 * 1024;

/// The same of the answer slot: a signature or a refusal. Whole pages.
pub const VAULT_GATE_ANSWER: usize = 4 * 1024;

/// A vault that died wakes nobody: who waits at a gate looks after this time whether it lives.
/// A hundred signatures, so that it costs nothing while it does.
pub const VAULT_GATE_GLANCE: Duration = Duration::from_millis(4);

/// So many of those make up [`VAULT_SIGN_DEADLINE`](super::VAULT_SIGN_DEADLINE).
pub const VAULT_GATE_GLANCES: u32 = 500;

/// A turn of a thread of the vault that serves a worker, shorter than the worker's own: so it runs at
/// once when the worker wakes it, and the worker, which had no time to go to sleep, goes on when it
/// has answered. Room for a few signatures of P-256; the kernel takes nothing shorter.
pub const VAULT_TURN: Duration = Duration::from_micros(100);

/// Signatures that are asked of the vault at once. With eight, the crossing is an eighth; a thread
/// stands still for them as long as for eight handshakes one after the other.
pub const VAULT_TOGETHER: usize = 8;

/// Handshakes of a thread that stand with their questions or answers at the same time: four frames of
/// [`VAULT_TOGETHER`]. What finds no place asks alone.
pub const VAULT_PLACES: usize = 4 * VAULT_TOGETHER;

/// Longest message that is signed together with others: what TLS 1.2 signs with a point of P-384 has
/// 165 octets, what TLS 1.3 signs 146.
pub const VAULT_MESSAGE: usize = 192;

/// Longest signature that is made together with others: one of P-256 has up to 72 octets.
pub const VAULT_SIGNATURE: usize = 80;

/// Octets of the stack of a handshake that may stop in the middle: more than three times what the
/// deepest was seen to use, 148 KiB in a build without optimisation, of both versions, with
/// X25519MLKEM768, and with certificates of clients four deep (`tests/vault_sockets.rs` looks at the
/// pages). Memory is taken for those pages only that are touched. Whoever goes beyond meets a page that
/// nobody may touch, which ends the process before anything is overwritten.
pub const FIBRE_STACK: usize = 512 * 1024;

/// Stacks that a thread keeps for the next handshakes: those of the ones that stop at the same time,
/// and of the one that is running.
pub const FIBRES_KEPT: usize = VAULT_PLACES + 1;

/// The policy of the key cache hears of every so many signatures with one key: it remembers a few
/// uses of a key only, and of a key that is used more often it knows enough.
pub const VAULT_TELLS_EVERY: u64 = 16;

/// Sets of counters that the vault's threads share: threads beyond them count on one together.
pub const VAULT_STRIPES: usize = 32;

/// What turning clients away may take of the time for handshakes, as a share. It is spent whoever is let
/// in: were all of it missing to the new ones, a flood that is quick enough would keep everybody out.
pub const AWAY_MOST: f32 = 0.5;
