//! Who may use the socket: root, the daemon's own user, and the members of one group.
//!
//! The socket's mode keeps others out already; the credentials of every peer are looked at all
//! the same, because an inherited or wrongly copied socket may have another mode. Everyone who
//! is admitted may do everything.

use std::ffi::CString;

use nix::unistd::Gid;
use nix::unistd::Group;
use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::getgrouplist;

use super::bind::BindError;
use super::caller::Caller;

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// The effective user when it connected.
    pub uid: u32,
    /// The effective group when it connected.
    pub gid: u32,
    /// The process, where the kernel tells.
    pub pid: Option<i32>,
}

/// Who is admitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    owner: Uid,
    group: Option<Gid>,
}

impl Access {
    /// Root, the user of this process and, if named, the members of `group`.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn new(group: Option<&str>) -> Result<Self, BindError> {
        let group = match group {
            None => None,
            Some(name) => match Group::from_name(name) {
                Ok(Some(group)) => Some(group.gid),
                Ok(None) => return Err(BindError::NoSuchGroup { group: name.to_owned() }),
                Err(errno) => {
                    return Err(BindError::GroupLookup {
                        group: name.to_owned(),
                        source: errno.into(),
                    });
                }
            },
        };
        Ok(Self { owner: Uid::effective(), group })
    }

    /// The group, if there is one.
    pub(super) const fn group(&self) -> Option<Gid> {
        self.group
    }

    /// Who `peer` is for this house; none if it is not admitted.
    pub async fn caller(&self, peer: Peer) -> Option<Caller> {
        self.admits(peer).await.then(|| Caller::operator(peer))
    }

    /// Whether `peer` is admitted.
    ///
    /// Only for a peer that neither is root nor the owner nor has the group as its first one is
    /// the user database asked; that may take as long as a directory service takes, so it
    /// happens on a thread for blocking work.
    async fn admits(&self, peer: Peer) -> bool {
        if peer.uid == 0 || peer.uid == self.owner.as_raw() {
            return true;
        }
        let Some(group) = self.group else { return false };
        if peer.gid == group.as_raw() {
            return true;
        }
        // A lookup that panics or is cancelled admits nobody.
        tokio::task::spawn_blocking(move || belongs(peer, group)).await.unwrap_or(false)
    }
}

/// Whether the user of `peer` is a member of `group` by the user database. The kernel would know
/// the groups of the process, but tells them only to newer callers than we can count on.
fn belongs(peer: Peer, group: Gid) -> bool {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid)) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { uid, gid, pid: None }
    }

    #[tokio::test]
    async fn root_the_owner_and_the_group_are_admitted_and_nobody_else() {
        let access = Access { owner: Uid::from_raw(1234), group: Some(Gid::from_raw(77)) };
        assert!(access.admits(peer(0, 0)).await);
        assert!(access.admits(peer(1234, 1)).await);
        assert!(access.admits(peer(4_000_001, 77)).await);
        assert!(!access.admits(peer(4_000_001, 78)).await);
        let closed = Access { owner: Uid::from_raw(1234), group: None };
        assert!(!closed.admits(peer(4_000_001, 77)).await);
    }

    #[test]
    fn a_supplementary_group_of_the_user_database_counts() {
        // `daemon` is a member of its own group everywhere; of group 0 it is not.
        let Ok(Some(user)) = User::from_name("daemon") else {
            panic!("every Debian has the user daemon");
        };
        let other_first_group = peer(user.uid.as_raw(), 4_000_001);
        assert!(belongs(other_first_group, user.gid));
        assert!(!belongs(other_first_group, Gid::from_raw(0)));
        assert!(!belongs(peer(4_000_001, 4_000_001), Gid::from_raw(0)));
    }

    #[test]
    fn an_unknown_group_is_an_error() {
        let refused = Access::new(Some("no-such-group-here"));
        assert!(matches!(refused, Err(BindError::NoSuchGroup { .. })));
    }
}
