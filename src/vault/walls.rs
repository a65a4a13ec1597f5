//! What the vault gives up before it serves, in order, and how far each wall stands.
//!
//! A wall that the kernel does not offer is reported, not fatal: the operator sees it in the
//! status. The master key is read and the threads are started in between, so the walls go up in
//! three calls.

use std::io;
use std::os::fd::OwnedFd;

use crate::os::descriptors;
use crate::os::sandbox;
use crate::os::sandbox::Standing;

/// One wall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wall {
    /// No core dumps, no reading of its memory by processes of the same user.
    Dumps,
    /// No descriptor but its sockets.
    Descriptors,
    /// No swapping.
    Swap,
    /// No capabilities, and none to be gained.
    Privileges,
    /// No paths, no ports (Landlock).
    Paths,
    /// No system calls beyond computing and talking (seccomp).
    SystemCalls,
}

/// Every wall, in the order in which they go up.
pub const WALLS: [Wall; 6] =
    [Wall::Dumps, Wall::Descriptors, Wall::Swap, Wall::Privileges, Wall::Paths, Wall::SystemCalls];

/// How far a wall stands, and why not further.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WallReport {
    /// Which one.
    pub wall: Wall,
    /// How far.
    pub standing: Standing,
    /// Why not wholly; empty otherwise.
    pub detail: String,
}

impl Wall {
    /// Its name, as status shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dumps => "dumps",
            Self::Descriptors => "descriptors",
            Self::Swap => "swap",
            Self::Privileges => "privileges",
            Self::Paths => "paths",
            Self::SystemCalls => "system calls",
        }
    }

    fn report(self, raised: io::Result<Standing>) -> WallReport {
        match raised {
            Ok(Standing::Full) => {
                WallReport { wall: self, standing: Standing::Full, detail: String::new() }
            }
            Ok(standing) => WallReport { wall: self, standing, detail: self.lacking().to_owned() },
            Err(error) => {
                WallReport { wall: self, standing: Standing::Absent, detail: error.to_string() }
            }
        }
    }

    const fn lacking(self) -> &'static str {
        match self {
            Self::Swap => "only what was there at the start; raise LimitMEMLOCK for the rest",
            Self::Paths => "the kernel offers less of Landlock than this program can use",
            _ => "not offered by this kernel",
        }
    }
}

/// Before the master key is read.
pub fn raise_first(kept: &OwnedFd) -> Vec<WallReport> {
    vec![
        Wall::Dumps.report(sandbox::forbid_dumps().map(|()| Standing::Full)),
        Wall::Descriptors.report(descriptors::close_all_but(kept).map(|()| Standing::Full)),
    ]
}

/// After the master key is read and before threads are started, which inherit these.
pub fn raise_second() -> Vec<WallReport> {
    vec![
        // Before the capability to lock memory is given up.
        Wall::Swap.report(sandbox::lock_memory()),
        Wall::Privileges.report(sandbox::drop_privileges().map(|()| Standing::Full)),
        Wall::Paths.report(sandbox::forbid_paths_and_ports()),
    ]
}

/// When the threads exist; holds for all of them.
pub fn raise_last() -> WallReport {
    Wall::SystemCalls.report(sandbox::forbid_system_calls().map(|()| Standing::Full))
}
