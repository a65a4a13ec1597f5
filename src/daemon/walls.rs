//! The walls of main and vault that do not stand whole: told once at the start, or a reason not
//! to start, as `[vault] require` says.
//!
//! What a wall is and how it goes up is the business of `os::wall` and `vault::walls`.

use super::Failed;
use crate::os::sandbox::Standing;
use crate::os::wall::Enforcement;
use crate::os::wall::WallState;
use crate::vault::walls::WallReport;

/// A wall that does not stand whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Torn {
    /// Whose, and which.
    wall: String,
    standing: Standing,
    /// What is lacking.
    detail: String,
    /// What to try.
    hint: String,
}

/// The wall around main, as the vault's are described: how far it stands, and why not further.
pub(super) fn files(state: &WallState) -> (Standing, &'static str) {
    match state.enforcement {
        Enforcement::Full => (Standing::Full, ""),
        Enforcement::Partial => (Standing::Partial, "this kernel knows a part of Landlock"),
        Enforcement::Absent => (Standing::Absent, "this kernel has no Landlock"),
    }
}

/// What is torn around main. A master key within its reach is a hole whatever else stands.
pub(super) fn of_main(state: &WallState) -> Vec<Torn> {
    let (standing, detail) = files(state);
    let mut torn = Vec::new();
    if standing != Standing::Full {
        torn.push(Torn {
            wall: "main's files".to_owned(),
            standing,
            detail: detail.to_owned(),
            hint: "Linux 6.10 or newer with landlock among its lsm=, and landlock_create_ruleset, \
                   landlock_add_rule and landlock_restrict_self in SystemCallFilter="
                .to_owned(),
        });
    }
    torn.extend(state.exposed.iter().map(|path| {
        Torn {
            wall: "main's files".to_owned(),
            standing: Standing::Partial,
            detail: format!("the master key's place {} is within main's reach", path.display()),
            hint:
                "a credential, or a file apart from the configuration and below neither /etc nor \
               /usr"
                    .to_owned(),
        }
    }));
    torn
}

/// What is torn around the vault.
pub(super) fn of_vault(torn: Vec<WallReport>) -> Vec<Torn> {
    torn.into_iter()
        .map(|report| Torn {
            wall: format!("the vault's {}", report.wall.name()),
            standing: report.standing,
            detail: report.detail,
            hint: report.wall.remedy().to_owned(),
        })
        .collect()
}

/// Puts what is lacking into the log, a line for each wall. Whoever looks at a demonstration is
/// not warned of the machine it runs on.
pub(super) fn tell(torn: &[Torn], demo: bool) {
    for Torn { wall, standing, detail, hint } in torn {
        let reason = standing.in_words(wall, detail);
        if demo {
            tracing::info!(reason, hint, "a wall does not stand whole");
        } else {
            tracing::warn!(reason, hint, "a wall does not stand whole");
        }
    }
}

/// Every wall was asked for, and these do not stand.
pub(super) fn refusal(torn: &[Torn]) -> Failed {
    let mut report =
        "error: [vault] require = \"strict\", and not every wall stands whole".to_owned();
    for Torn { wall, standing, detail, hint } in torn {
        report.push_str(&format!("\n  {}\n    try: {hint}", standing.in_words(wall, detail)));
    }
    report.push_str(
        "\n  expected: every wall of main and vault, whole\n  \
         try: what stands above, or [vault] require = \"available\", which starts without them and \
         tells them in keyward status",
    );
    Failed::configuration(report)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::vault::walls::WALLS;
    use crate::vault::walls::Wall;

    fn main_wall(enforcement: Enforcement, exposed: &[&str]) -> WallState {
        let exposed = exposed.iter().map(PathBuf::from).collect();
        WallState { enforcement, missing: vec![PathBuf::from("/lib64")], exposed }
    }

    fn whole() -> Vec<WallReport> {
        let full = |wall| WallReport { wall, standing: Standing::Full, detail: String::new() };
        WALLS.into_iter().map(full).collect()
    }

    #[test]
    fn where_everything_stands_nothing_is_torn() {
        assert_eq!(of_main(&main_wall(Enforcement::Full, &[])), []);
        assert_eq!(of_vault(crate::vault::walls::torn(&whole())), []);
    }

    #[test]
    fn each_torn_wall_is_named_with_its_reason_and_what_to_try() {
        let mut walls = whole();
        walls[2].standing = Standing::Partial;
        walls[2].detail = "only a part".to_owned();
        // A wall that the vault forgets to mention is as good as none.
        walls.retain(|report| report.wall != Wall::SystemCalls);
        let mut torn = of_vault(crate::vault::walls::torn(&walls));
        torn.extend(of_main(&main_wall(Enforcement::Absent, &["/etc/keyward/key"])));
        let Failed { status, report } = refusal(&torn);
        assert_eq!(status, 78);
        for part in [
            "the vault's swap (partly: only a part)",
            "try: LimitMEMLOCK=infinity",
            "the vault's system calls (missing: ",
            "main's files (missing: this kernel has no Landlock)",
            "/etc/keyward/key is within main's reach",
            "require = \"available\"",
        ] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert!(!report.contains("dumps"), "{report}");
    }
}
