//! What a person should know about the house beside its work: how well its walls stand, where the
//! master key is, and what keeps it from ordering.

use std::path::Path;
use std::path::PathBuf;

use super::walls;
use crate::base::Timestamp;
use crate::os::tcp::Offer;
use crate::os::wall::WallState;
use crate::vault::seal::Mark;

/// Where the master key lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum MasterPlace {
    /// In a credential of the service manager.
    Credential,
    /// In a file that the operator named.
    Named(PathBuf),
    /// In somebody's head; what lies in this file is no secret.
    Passphrase(PathBuf),
    /// In the file that a first start makes below the state directory.
    Own(PathBuf),
}

/// What the house stands on since its start.
#[derive(Clone, Debug)]
pub(super) struct Grounds {
    /// The wall around main.
    pub(super) wall: WallState,
    /// Where the master key lives.
    pub(super) master: MasterPlace,
    /// What the kernel does for the front door.
    pub(super) kernel: Vec<Offer>,
    /// A demonstration keeps nothing that would be worth a better place.
    pub(super) demo: bool,
}

impl MasterPlace {
    /// Why keyward gives this master key no successor by itself, and how to do it; `None` where it
    /// does.
    pub(super) fn not_ours(&self) -> Option<String> {
        match self {
            Self::Own(_) => None,
            Self::Passphrase(path) => Some(format!(
                "the master key comes from a passphrase: move {path} to {path}.former and restart \
                 keyward; it asks for a new passphrase and for the former one, and seals everything \
                 anew",
                path = path.display()
            )),
            Self::Named(path) => Some(format!(
                "the master key is a file of yours: move {path} to {path}.former, lay a new one in \
                 its place (head -c 32 /dev/urandom > {path}; chmod 400, same owner), and restart \
                 keyward; it then seals everything anew and says when the former one can go",
                path = path.display()
            )),
            Self::Credential => Some(
                "the master key is a credential: name the present one keyward.master.former in the \
                 unit (systemd-creds decrypt it, and encrypt it with --name=keyward.master.former), \
                 give a new one as keyward.master, and restart keyward; it then seals everything \
                 anew and says when the former one can go"
                    .to_owned(),
            ),
        }
    }

    /// The place, and which master key is there.
    pub(super) fn in_words(&self, masters: &[Mark]) -> String {
        let place = match self {
            Self::Credential => "the systemd credential keyward.master".to_owned(),
            Self::Passphrase(_) => "a passphrase".to_owned(),
            Self::Named(path) | Self::Own(path) => format!("the file {}", path.display()),
        };
        masters.first().map_or_else(|| place.clone(), |mark| format!("{place}, {mark}"))
    }
}

impl Grounds {
    /// The walls around main, in the words of the vault's.
    pub(super) fn walls(&self) -> Vec<String> {
        let (standing, detail) = walls::files(&self.wall);
        vec![standing.in_words("files", detail), "dumps".to_owned()]
    }

    /// What the kernel does for the front door, in the words of the walls.
    pub(super) fn kernel(&self) -> Vec<String> {
        self.kernel.iter().map(|o| o.standing.in_words(o.name, &o.detail)).collect()
    }

    /// What could be better, each with what to do.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut notices: Vec<_> = self.wall.exposed.iter().map(|path| within_reach(path)).collect();
        if let (MasterPlace::Own(path), false) = (&self.master, self.demo) {
            notices.push(plain_file(path));
        }
        notices
    }
}

fn within_reach(path: &Path) -> String {
    format!(
        "the master key's place {} is within reach of the process that talks to the network: \
         use a kernel with Landlock, and keep it apart from the configuration",
        path.display()
    )
}

fn plain_file(path: &Path) -> String {
    format!(
        "the master key is a plain file, {}, so a copy of the disk or a backup opens every key: \
         better is an encrypted systemd credential, which the example credential.conf turns it \
         into, or a file on another medium, named by [vault] master_key",
        path.display()
    )
}

/// What it means that the second copy has `filled` certificates and is not whole.
pub(super) fn making(filled: u64) -> String {
    format!(
        "the second copy is being made anew from the store and has {filled} certificates so far: \
         sites come first, imported certificates are served as they come"
    )
}

/// What it means that the second copy was not as it was written.
pub(super) fn copy(damage: &str) -> String {
    format!(
        "the second copy was not as it was written: {damage}; what the store has of it was written \
         again, so look at the disk"
    )
}

/// What keeps the house from ordering, in words.
pub(super) fn hindrances(
    clock_behind: Option<Timestamp>,
    store: Option<&str>,
    damage: Option<&str>,
    now: Timestamp,
) -> Vec<String> {
    let clock = clock_behind.map(|newest| {
        format!(
            "the clock says {now}, which is before {newest}, the newest moment in the store: \
             nothing is ordered until it is right, or until keyward renew NAME vouches for it"
        )
    });
    let store = store.map(|reason| {
        format!("the state cannot be written, so nothing is ordered and serving goes on: {reason}")
    });
    let damage = damage.map(|records| {
        format!(
            "records of the store are not as they were written: {records}; what was installed goes \
             on being served, so look at the disk and restore a backup, or forget and import again"
        )
    });
    clock.into_iter().chain(store).chain(damage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::wall::Enforcement;

    fn grounds(master: MasterPlace, demo: bool) -> Grounds {
        let wall =
            WallState { enforcement: Enforcement::Full, missing: Vec::new(), exposed: Vec::new() };
        Grounds { wall, master, kernel: Vec::new(), demo }
    }

    #[test]
    fn only_a_key_file_of_our_own_making_is_worth_a_word() {
        let path = PathBuf::from("/var/lib/keyward/vault/master.key");
        let own = MasterPlace::Own(path.clone());
        let told = grounds(own.clone(), false).notices();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("/master.key") && told[0].contains("credential"), "{told:?}");
        assert!(grounds(own, true).notices().is_empty());
        assert!(grounds(MasterPlace::Named(path), false).notices().is_empty());
        assert!(grounds(MasterPlace::Credential, false).notices().is_empty());
    }

    #[test]
    fn a_wall_that_does_not_stand_is_told() {
        let mut grounds = grounds(MasterPlace::Credential, false);
        grounds.wall.enforcement = Enforcement::Absent;
        grounds.wall.exposed = vec![PathBuf::from("/run/credentials/keyward.service")];
        assert_eq!(grounds.walls()[0], "files (missing: this kernel has no Landlock)");
        assert!(grounds.notices()[0].contains("/run/credentials/keyward.service"));
    }

    #[test]
    fn a_clock_that_is_behind_and_a_disk_that_is_full_or_damaged_are_told() {
        let newest = Timestamp::from_unix(1_800_000_000);
        let now = Timestamp::from_unix(1_700_000_000);
        let told = hindrances(Some(newest), Some("no space is left"), Some("1 damaged"), now);
        assert!(told[0].contains("2023-11-14") && told[0].contains("2027-01-15"), "{told:?}");
        assert!(told[1].contains("no space is left"), "{told:?}");
        assert!(told[2].contains("1 damaged"), "{told:?}");
        assert!(hindrances(None, None, None, newest).is_empty());
    }
}
