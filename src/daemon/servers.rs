//! How the servers behind sites are, in words.
//!
//! The edge knows; see its `standing`.

use crate::admin::wire::terms::ServerView as Shown;
use crate::edge::ServerNews;
use crate::edge::ServerState;
use crate::edge::ServerView;

/// Servers that status names; it says how many more there are.
const NAMED: usize = 5;

/// As the socket shows them.
pub(super) fn views(servers: Vec<ServerView>) -> Vec<Shown> {
    let shown = |server: ServerView| {
        let (state, detail) = match server.state {
            ServerState::Good => ("good", None),
            ServerState::Rising(share) => ("rising", Some(format!("gets {share} % of its share"))),
            ServerState::LeftOut => {
                ("left out", Some("requests failed, so some worker asks others".to_owned()))
            }
            ServerState::Down(reason) => ("down", Some(reason)),
        };
        Shown {
            address: server.address,
            weight: server.weight,
            state: state.to_owned(),
            detail,
            since: server.since.map(|since| since.as_secs()),
        }
    };
    servers.into_iter().map(shown).collect()
}

/// What a person should know of those that are not well.
pub(super) fn notices(unwell: &[ServerView]) -> Vec<String> {
    let told = |server: &ServerView| {
        let ServerView { site, address, state, since, .. } = server;
        match (state, since) {
            (ServerState::Down(reason), Some(since)) => {
                format!(
                    "the server {address} of {site} is down for {} s: {reason}",
                    since.as_secs()
                )
            }
            _ => {
                format!("the server {address} of {site} fails requests and is left out for a while")
            }
        }
    };
    let more = unwell.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("{more} further servers of sites are not well"));
    unwell.iter().take(NAMED).map(told).chain(more).collect()
}

/// An entry of the journal; and whether it is a good one.
pub(super) fn entry(news: &ServerNews) -> (bool, String) {
    let ServerNews { site, server, down } = news;
    match down {
        Some(reason) => (false, format!("the server {server} of {site} is down: {reason}")),
        None => (true, format!("the server {server} of {site} is up again")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn server(number: usize, state: ServerState) -> ServerView {
        ServerView {
            site: "a.example".to_owned(),
            address: format!("http://10.0.0.{number}:80"),
            weight: 1,
            state,
            since: Some(Duration::from_secs(7)),
        }
    }

    #[test]
    fn a_few_servers_that_are_not_well_are_named_and_the_others_counted() {
        let down = |number| server(number, ServerState::Down("it answers with 500".to_owned()));
        let told = notices(&(0..NAMED + 2).map(down).collect::<Vec<_>>());
        assert_eq!(told.len(), NAMED + 1);
        let first =
            "the server http://10.0.0.0:80 of a.example is down for 7 s: it answers with 500";
        assert_eq!(told[0], first);
        assert!(told[NAMED].starts_with("2 further servers"), "{told:?}");
        assert!(notices(&[server(1, ServerState::LeftOut)])[0].contains("is left out"));
        assert!(notices(&[]).is_empty());
    }
}
