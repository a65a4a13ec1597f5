//! Who may use the socket: root, the daemon's own user and the members of one group, who operate the
//! house, and the clients of the file.
//!
//! The credentials of every peer are looked at, whatever the mode of the socket is: an inherited or
//! wrongly copied socket may have another, and with clients in the file it lets everybody connect.

use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use nix::unistd::Gid;
use nix::unistd::Group;
use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::getgrouplist;
use tokio::net::UnixStream;

use super::bind::BindError;
use super::caller::Caller;
use super::people::People;
use crate::cert::client::ClientName;
use crate::cert::rights::Role;
use crate::os::peer;

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

/// A peer with all of its groups.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) peer: Peer,
    groups: Vec<u32>,
}

/// Who is admitted.
#[derive(Clone, Debug)]
pub struct Access {
    owner: Uid,
    group: Option<Gid>,
    people: Arc<ArcSwap<People>>,
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
        Ok(Self { owner: Uid::effective(), group, people: Arc::default() })
    }

    /// The group, if there is one.
    pub(super) const fn group(&self) -> Option<Gid> {
        self.group
    }

    /// Puts those in the place of the clients that were known; says whether they are others.
    pub(super) fn know(&self, people: People) -> bool {
        let people = Arc::new(people);
        self.people.swap(Arc::clone(&people)) != people
    }

    /// Who a peer is for this house now; none if it is nobody.
    pub(super) fn caller(&self, seen: &Seen) -> Option<Caller> {
        let (peer, people) = (seen.peer, self.people.load());
        let client = people.of(peer.uid, &seen.groups);
        let name = client.map(|(name, _)| name.clone());
        if self.operates(seen) {
            return Some(Caller::new(name, Role::Operator, peer));
        }
        client.map(|(_, role)| Caller::new(name, role, peer))
    }

    /// The role of a client, whoever it is that acts as it.
    pub(super) fn role_of(&self, name: &ClientName) -> Option<Role> {
        self.people.load().named(name)
    }

    fn operates(&self, seen: &Seen) -> bool {
        let uid = seen.peer.uid;
        uid == 0
            || uid == self.owner.as_raw()
            || self.group.is_some_and(|group| seen.groups.contains(&group.as_raw()))
    }
}

impl Seen {
    /// Looks at who is at the other end of `stream`: its groups are those that it has, as for a file
    /// that it opens. Where the kernel does not tell, the user database is asked, which may take as
    /// long as a directory service takes.
    ///
    /// # Errors
    /// When the kernel does not even tell its user.
    pub(super) async fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let cred = stream.peer_cred()?;
        let peer = Peer { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() };
        let mut groups = match peer::groups(stream.as_fd()) {
            Ok(groups) => groups,
            // A lookup that panics or is cancelled admits nobody.
            Err(_) => {
                tokio::task::spawn_blocking(move || by_database(peer)).await.unwrap_or_default()
            }
        };
        groups.push(peer.gid);
        Ok(Self { peer, groups })
    }
}

/// The groups of the user of `peer` by the user database.
fn by_database(peer: Peer) -> Vec<u32> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid)) else { return Vec::new() };
    let Ok(name) = CString::new(user.name) else { return Vec::new() };
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    groups.into_iter().map(Gid::as_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Client;

    fn seen(uid: u32, groups: &[u32]) -> Seen {
        let gid = groups[0];
        Seen { peer: Peer { uid, gid, pid: None }, groups: groups.to_vec() }
    }

    #[test]
    fn root_the_owner_and_the_group_operate_and_clients_are_what_the_file_says() {
        let (owner, group) = (Uid::from_raw(1234), Some(Gid::from_raw(77)));
        let access = Access { owner, group, people: Arc::default() };
        let role = |seen: Seen| access.caller(&seen).map(|caller| caller.role);
        assert_eq!(role(seen(0, &[0])), Some(Role::Operator));
        assert_eq!(role(seen(1234, &[1])), Some(Role::Operator));
        assert_eq!(role(seen(4_000_001, &[5, 77])), Some(Role::Operator));
        assert_eq!(role(seen(4_000_001, &[78])), None);
        let name = ClientName::parse("ann").unwrap();
        let users = vec!["4000001".to_owned()];
        let ann = Client { name: name.clone(), users, groups: Vec::new(), role: Role::Client };
        assert!(access.know(People::look_up(std::slice::from_ref(&ann)).0));
        assert!(!access.know(People::look_up(&[ann]).0), "the same again");
        let caller = access.caller(&seen(4_000_001, &[78])).unwrap();
        assert_eq!((caller.name.as_ref(), caller.role), (Some(&name), Role::Client));
        let caller = access.caller(&seen(4_000_001, &[77])).unwrap();
        assert_eq!((caller.name, caller.role), (Some(name), Role::Operator));
        assert_eq!(role(seen(4_000_002, &[78])), None);
        assert!(access.know(People::default()) && role(seen(4_000_001, &[78])).is_none());
        let closed = Access { owner, group: None, people: Arc::default() };
        assert!(closed.caller(&seen(4_000_001, &[77])).is_none());
    }

    #[test]
    fn the_user_database_knows_the_groups_of_a_user() {
        let Ok(Some(user)) = User::from_name("daemon") else {
            panic!("every Debian has the user daemon");
        };
        let peer = |uid| Peer { uid, gid: 4_000_001, pid: None };
        let groups = by_database(peer(user.uid.as_raw()));
        assert!(groups.contains(&user.gid.as_raw()) && !groups.contains(&0));
        assert!(by_database(peer(4_000_001)).is_empty());
    }

    #[test]
    fn an_unknown_group_is_an_error() {
        let refused = Access::new(Some("no-such-group-here"));
        assert!(matches!(refused, Err(BindError::NoSuchGroup { .. })));
    }
}
