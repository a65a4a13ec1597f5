//! Named moments at which a test may kill the process, to prove that the next start understands
//! what it finds.
//!
//! Without the feature `crash-points` every call compiles to nothing.

/// Ends this process as `kill -9` would when `KEYWARD_CRASH_AT` names this point.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    if std::env::var("KEYWARD_CRASH_AT").is_ok_and(|wanted| wanted == name) {
        let _unreachable = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// The same for the point `line`, colon, `name`.
#[cfg(feature = "crash-points")]
pub fn point_of(line: &str, name: &str) {
    point(&format!("{line}:{name}"));
}

/// Nothing: crash points exist only under the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
pub const fn point_of(_line: &str, _name: &str) {}

/// Nothing: crash points exist only under the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
pub const fn point(_name: &str) {}

/// Waits here as long as a test wants it: `KEYWARD_HOLD_AT` names this point, a colon, and a file
/// that this makes and that the test deletes.
#[cfg(feature = "crash-points")]
pub async fn hold(name: &str) {
    // Each process waits once: what comes later goes on.
    static HELD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let Ok(wanted) = std::env::var("KEYWARD_HOLD_AT") else { return };
    let Some((_, file)) = wanted.split_once(':').filter(|(at, _)| *at == name) else { return };
    if HELD.swap(true, std::sync::atomic::Ordering::SeqCst) || std::fs::write(file, name).is_err() {
        return;
    }
    while std::path::Path::new(file).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Nothing: crash points exist only under the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
pub fn hold(_name: &str) -> std::future::Ready<()> {
    std::future::ready(())
}

/// Every point there is, in the order in which an issuance passes them. Those that the issuance
/// of a bridge passes as well are called `bridge:leased` and so on there.
pub const POINTS: &[&str] = &[
    "leased",
    "key-generated",
    "key-stored",
    "order-opened",
    "order-stored",
    "challenge-presented",
    "challenge-valid",
    "finalised",
    "issued",
    "installed",
    "published",
];

/// The point of the order of a client that lies before those of an issuance.
pub const ISSUE_POINT: &str = "issue-reserved";

/// Every point of a restore, in the order in which it passes them.
pub const RESTORE_POINTS: &[&str] = &[
    "restore-begun",
    "restore-copied",
    "restore-checked",
    "restore-configured",
    "restore-keyed",
    "restore-placed",
];

/// Every point of a rotation of the master key, in the order in which it passes them.
pub const ROTATION_POINTS: &[&str] =
    &["master-made", "keys-resealed", "shelves-resealed", "copies-resealed", "former-forgotten"];

/// Every point of a revocation, in the order in which it passes them; between the first and the second
/// lie those of an issuance.
pub const REVOCATION_POINTS: &[&str] = &["revocation-noted", "revocation-told"];

/// Every point at which another one of two certificates of a site is shown, in the order in which it is.
pub const SWITCH_POINTS: &[&str] = &["switch-decided", "switch-stored", "switch-shown"];

/// Every point of a change of an account's key, in the order in which it passes them.
pub const ACCOUNT_POINTS: &[&str] = &["account-key-stored", "account-key-changed"];

/// Every point of the adoption of an account, in the order in which it passes them.
pub const ADOPTION_POINTS: &[&str] = &["account-sealed", "account-known", "account-adopted"];

/// Every point of a hand-over at which the old process may be killed, in the order in which it passes
/// them.
pub const GIVING_POINTS: &[&str] = &["heir-called", "given", "heir-serves", "left"];

/// The same for the new process.
pub const TAKING_POINTS: &[&str] = &["sockets-taken", "prepared", "taken", "serves"];

/// Every point at which a second copy that is made anew becomes the one that counts.
pub const COPY_POINTS: &[&str] = &["copy-emptied", "copy-filled", "copy-named"];

/// Every point of a hand that brings a pair to its target, in the order in which it passes them.
pub const HAND_POINTS: &[&str] = &[
    "hand-written",
    "hand-remembered",
    "hand-noted",
    "hand-swapped-one",
    "hand-swapped",
    "hand-placed",
    "hand-taken-up",
    "hand-forgotten",
];

/// Every point of a hand that puts back what was there before.
pub const HAND_BACK_POINTS: &[&str] = &["hand-returning", "hand-returned-one", "hand-forgotten"];
