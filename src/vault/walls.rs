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
use crate::os::secret;
use crate::os::secret::Furnished;
use crate::os::secret::Pages;

/// One wall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wall {
    /// No core dumps, no reading of its memory by processes of the same user.
    Dumps,
    /// No descriptor but its sockets.
    Descriptors,
    /// No swapping.
    Swap,
    /// Master key and opened keys in pages that nobody else can read.
    SecretMemory,
    /// No capabilities, and none to be gained.
    Privileges,
    /// No paths, no ports (Landlock).
    Paths,
    /// No system calls beyond computing and talking (seccomp).
    SystemCalls,
}

/// Every wall, in the order in which they go up.
pub const WALLS: [Wall; 7] = [
    Wall::Dumps,
    Wall::Descriptors,
    Wall::Swap,
    Wall::SecretMemory,
    Wall::Privileges,
    Wall::Paths,
    Wall::SystemCalls,
];

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

impl WallReport {
    /// Its name, and what is torn where something is.
    pub fn in_words(&self) -> String {
        self.standing.in_words(self.wall.name(), &self.detail)
    }
}

/// Those that do not stand whole. One that nobody reported on is not there.
pub fn torn(reports: &[WallReport]) -> Vec<WallReport> {
    let report = |wall: Wall| reports.iter().find(|report| report.wall == wall);
    WALLS
        .into_iter()
        .filter_map(|wall| match report(wall) {
            Some(WallReport { standing: Standing::Full, .. }) => None,
            Some(report) => Some(report.clone()),
            None => {
                let detail = "the vault says nothing of it".to_owned();
                Some(WallReport { wall, standing: Standing::Absent, detail })
            }
        })
        .collect()
}

impl Wall {
    /// Its name, as status shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dumps => "dumps",
            Self::Descriptors => "descriptors",
            Self::Swap => "swap",
            Self::SecretMemory => "secret memory",
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

    /// What to try where it does not stand.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Swap => "LimitMEMLOCK=infinity in the unit",
            Self::SecretMemory => {
                "LimitMEMLOCK=infinity in the unit, a smaller [vault] cache, Linux 5.14 or newer \
                 (up to 6.4 with secretmem.enable=1), and memfd_secret in SystemCallFilter="
            }
            Self::Paths => {
                "Linux 6.12 or newer with landlock among its lsm=, and landlock_create_ruleset \
                 and landlock_restrict_self in SystemCallFilter="
            }
            Self::Descriptors => "Linux 5.9 or newer",
            Self::SystemCalls => "a kernel with seccomp filters, and seccomp in SystemCallFilter=",
            Self::Privileges => "capset and prctl in SystemCallFilter=",
            Self::Dumps => "prctl and prlimit64 in SystemCallFilter=",
        }
    }

    const fn lacking(self) -> &'static str {
        match self {
            Self::Swap => "only what was there at the start: raise LimitMEMLOCK for the rest",
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

/// After the master key's source is read and before threads are started, which inherit these.
/// Opened keys and what is derived from the master key find `slots` places in secret memory.
pub fn raise_second(slots: usize) -> Vec<WallReport> {
    vec![
        // These two before the capability to lock memory is given up.
        Wall::Swap.report(sandbox::lock_memory()),
        secret_memory(secret::furnish(slots)),
        Wall::Privileges.report(sandbox::drop_privileges().map(|()| Standing::Full)),
        Wall::Paths.report(sandbox::forbid_paths_and_ports()),
    ]
}

/// When the threads exist; holds for all of them.
pub fn raise_last() -> WallReport {
    Wall::SystemCalls.report(sandbox::forbid_system_calls().map(|()| Standing::Full))
}

fn secret_memory(furnished: io::Result<Furnished>) -> WallReport {
    let wall = Wall::SecretMemory;
    let furnished = match furnished {
        Ok(furnished) if furnished.is_whole() => return wall.report(Ok(Standing::Full)),
        Ok(furnished) => furnished,
        Err(error) => return wall.report(Err(error)),
    };
    let Furnished { pages, wanted, room } = furnished;
    let room_for = format!("room for {} KiB of {} KiB", room / 1024, wanted / 1024);
    let (standing, detail) = match pages {
        Pages::Hidden => (Standing::Partial, format!("{room_for}: raise LimitMEMLOCK")),
        Pages::Locked if room >= wanted => {
            (Standing::Partial, "no memfd_secret here so the pages are locked only".to_owned())
        }
        Pages::Locked => (
            Standing::Partial,
            format!("no memfd_secret here and {room_for} of locked pages: raise LimitMEMLOCK"),
        ),
        Pages::Absent => (Standing::Absent, "no page can be locked: raise LimitMEMLOCK".to_owned()),
    };
    WallReport { wall, standing, detail }
}
