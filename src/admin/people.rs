//! Who the clients of the file are, by the numbers that the kernel knows them by.
//!
//! Deliberately absent: root, the daemon's user and the group of operators, which `access` knows.

use nix::unistd::Group;
use nix::unistd::User;

use crate::cert::client::ClientName;
use crate::cert::rights::Role;
use crate::config::Client;

/// The clients of the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct People(Vec<Person>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Person {
    name: ClientName,
    role: Role,
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl People {
    /// Looks everybody up, which may take as long as a directory service takes; and says which names
    /// are of nobody.
    pub(super) fn look_up(clients: &[Client]) -> (Self, Vec<String>) {
        let mut missing = Vec::new();
        let mut all = Vec::with_capacity(clients.len());
        for client in clients {
            let mut numbers = |names: &[String], kind: &str, find: fn(&str) -> Option<u32>| {
                let mut numbers = Vec::with_capacity(names.len());
                for name in names {
                    match find(name).or_else(|| name.parse().ok()) {
                        Some(number) => numbers.push(number),
                        None => missing.push(format!("{kind} {name} of client {}", client.name)),
                    }
                }
                numbers
            };
            let users = numbers(&client.users, "user", |name| {
                Some(User::from_name(name).ok().flatten()?.uid.as_raw())
            });
            let groups = numbers(&client.groups, "group", |name| {
                Some(Group::from_name(name).ok().flatten()?.gid.as_raw())
            });
            all.push(Person { name: client.name.clone(), role: client.role, users, groups });
        }
        (Self(all), missing)
    }

    /// Which client a process is that runs as `user` and has `groups`; a user that is named goes before
    /// groups, and the order of the file decides between these.
    pub(super) fn of(&self, user: u32, groups: &[u32]) -> Option<(&ClientName, Role)> {
        let named = self.0.iter().find(|person| person.users.contains(&user));
        let member = |person: &&Person| person.groups.iter().any(|group| groups.contains(group));
        let found = named.or_else(|| self.0.iter().find(member))?;
        Some((&found.name, found.role))
    }

    /// The role of the client of this name.
    pub(super) fn named(&self, name: &ClientName) -> Option<Role> {
        self.0.iter().find(|person| person.name == *name).map(|person| person.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, users: &[&str], groups: &[&str], role: Role) -> Client {
        let all = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let name = ClientName::parse(name).unwrap();
        Client { name, users: all(users), groups: all(groups), role }
    }

    #[test]
    fn users_go_before_groups_and_the_order_of_the_file_decides() {
        let (people, missing) = People::look_up(&[
            client("a", &[], &["9001", "9002"], Role::Client),
            client("b", &["7001", "no-such-user-here"], &["9002"], Role::Observer),
            client("c", &["daemon"], &["no-such-group-here"], Role::Client),
        ]);
        let of = |user, groups: &[u32]| people.of(user, groups).map(|(name, _)| name.as_str());
        assert_eq!(of(7001, &[9001]), Some("b"));
        assert_eq!(of(7002, &[9002]), Some("a"));
        assert_eq!(of(7002, &[9003]), None);
        let daemon = User::from_name("daemon").unwrap().unwrap().uid.as_raw();
        assert_eq!(of(daemon, &[]), Some("c"));
        assert_eq!(people.of(7001, &[]).unwrap().1, Role::Observer);
        assert_eq!(
            missing,
            ["user no-such-user-here of client b", "group no-such-group-here of client c"]
        );
    }
}
