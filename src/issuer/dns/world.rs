//! What the servers of a zone themselves say of a name: where it leads, whether it is there at all, and
//! which CAs may sign it.
//!
//! It says what it saw and decides nothing; whoever asks bounds the time of the whole.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::proto::rr::rdata::CAA;
use hickory_resolver::system_conf;
use tokio::sync::Mutex;

use super::lookup;
use super::question;
use super::question::Manner;
use super::question::Reply;
use crate::base::bounds::dns::ALIASES;
use crate::base::bounds::dns::ONE_SERVERS;
use crate::config::DnsAccount;
use crate::config::dns::is_within;

/// The DNS as it is during one look.
#[derive(Debug)]
pub struct World {
    /// Those who ask others.
    resolvers: Vec<SocketAddr>,
    /// Zones whose servers the configuration names.
    named: Vec<(String, Vec<SocketAddr>)>,
    /// Servers by the name that was asked for.
    known: Mutex<HashMap<String, Result<Vec<SocketAddr>, String>>>,
}

/// Where a name leads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Whereabouts {
    /// The names on the way, the first one asked for first; more than one where there are aliases.
    pub way: Vec<String>,
    /// Addresses at its end.
    pub addresses: Vec<IpAddr>,
    /// The name on the way that does not exist, by the word of every server of its zone that answered.
    pub absent: Option<Absent>,
    /// A server that was asked last.
    pub server: Option<SocketAddr>,
}

/// A name that does not exist.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Absent {
    /// The name.
    pub name: String,
    /// The zone in which it would be.
    pub zone: String,
}

/// What a resolver says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Resolved {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Why there are none, where the resolver refuses.
    pub refused: Option<String>,
    /// Whether it refuses for what DNSSEC says: it said so, or answers when it need not look.
    pub forged: bool,
}

/// The CAA records that count for a name.
#[derive(Clone, Debug, Default)]
pub(in crate::issuer) struct Relevant {
    /// The name that has them.
    pub(in crate::issuer) at: Option<String>,
    pub(in crate::issuer) records: Vec<CAA>,
}

impl World {
    /// Asks `resolvers` which servers have a zone, or the system's where there are none; the servers of
    /// some zones stand in `accounts`.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub fn new(resolvers: &[SocketAddr], accounts: &[DnsAccount]) -> Result<Self, String> {
        let mut resolvers = resolvers.to_vec();
        if resolvers.is_empty() {
            let (config, _) = system_conf::read_system_conf().map_err(|error| error.to_string())?;
            let servers = config.name_servers().iter();
            resolvers.extend(servers.map(|server| SocketAddr::new(server.ip, lookup::PORT)));
        }
        if resolvers.is_empty() {
            return Err("the system names no resolver".to_owned());
        }
        let named = accounts.iter().filter(|account| !account.servers.is_empty());
        let named = named.flat_map(|account| {
            account.zones.iter().map(|zone| (zone.clone(), account.servers.clone()))
        });
        Ok(Self { resolvers, named: named.collect(), known: Mutex::default() })
    }

    /// Where `host` leads, by the word of those who have the zones.
    ///
    /// # Errors
    /// When nobody knows.
    pub async fn whereabouts(&self, host: &str) -> Result<Whereabouts, String> {
        let mut found = Whereabouts { way: vec![host.to_owned()], ..Whereabouts::default() };
        let mut at = host.to_owned();
        for _ in 0..=ALIASES {
            let (server, four) = self.authority(&at, RecordType::A).await?;
            found.server = Some(server);
            // The code is about where the aliases end (RFC 6604, section 3), so they come first.
            if let Some(next) = four.alias(&at) {
                found.way.push(next.clone());
                at = next;
                continue;
            }
            if four.code == ResponseCode::NXDomain {
                let zone = four.zone().unwrap_or_default();
                found.absent = Some(Absent { name: at, zone });
                return Ok(found);
            }
            let six = self.authority(&at, RecordType::AAAA).await?.1;
            found.addresses = four.at(&at).chain(six.at(&at)).filter_map(address).collect();
            return Ok(found);
        }
        Err(format!("{host} is an alias of an alias, more than {ALIASES} times"))
    }

    /// What a resolver says of `host`.
    ///
    /// # Errors
    /// When none answers.
    pub async fn resolved(&self, host: &str) -> Result<Resolved, String> {
        let mut resolved = Resolved::default();
        for kind in [RecordType::A, RecordType::AAAA] {
            let reply = self.recurse(host, kind, false).await?;
            resolved
                .addresses
                .extend(reply.answers.iter().map(|one| &one.data).filter_map(address));
            if !matches!(reply.code, ResponseCode::NoError | ResponseCode::NXDomain) {
                let why = reply.extended.as_ref().map(|(number, text)| match text.as_str() {
                    "" => format!(" (reason {number} of RFC 8914)"),
                    text => format!(" (reason {number} of RFC 8914: {text})"),
                });
                let why = why.unwrap_or_default();
                resolved.refused = Some(format!("{}{why}", reply.code.to_str()));
                // RFC 8914, sections 4.2 to 4.13, but for those about age and filters.
                let said =
                    reply.extended.is_some_and(|(number, _)| matches!(number, 1 | 2 | 5..=12));
                let unchecked = self.recurse(host, kind, true).await;
                let answers = unchecked.is_ok_and(|reply| {
                    matches!(reply.code, ResponseCode::NoError | ResponseCode::NXDomain)
                });
                resolved.forged |= said || answers;
            }
        }
        Ok(resolved)
    }

    /// The CAA records that count for `host`: its own, or those of the nearest name above that has any
    /// (RFC 8659, section 3).
    ///
    /// # Errors
    /// When a name below the first that has any could not be asked.
    pub(in crate::issuer) async fn caa(&self, host: &str) -> Result<Relevant, String> {
        let mut at = host;
        loop {
            let found = self.caa_at(at).await;
            match found {
                Ok(records) if !records.is_empty() => {
                    return Ok(Relevant { at: Some(at.to_owned()), records });
                }
                Ok(_) => {}
                // Private names end in no zone that anybody has.
                Err(_) if !at.contains('.') => {}
                Err(reason) => return Err(reason),
            }
            let Some((_, parent)) = at.split_once('.') else { return Ok(Relevant::default()) };
            at = parent;
        }
    }

    async fn caa_at(&self, name: &str) -> Result<Vec<CAA>, String> {
        let mut at = name.to_owned();
        for _ in 0..=ALIASES {
            let (_, reply) = self.authority(&at, RecordType::CAA).await?;
            if let Some(next) = reply.alias(&at) {
                at = next;
                continue;
            }
            let records = reply.at(&at).filter_map(|data| match data {
                RData::CAA(caa) => Some(caa.clone()),
                _ => None,
            });
            return Ok(records.collect());
        }
        Err(format!("{name} is an alias of an alias, more than {ALIASES} times"))
    }

    /// The text records at `name`, where its aliases lead.
    ///
    /// # Errors
    /// When nobody knows.
    pub(in crate::issuer) async fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let mut at = name.to_owned();
        for _ in 0..=ALIASES {
            let (_, reply) = self.authority(&at, RecordType::TXT).await?;
            if let Some(next) = reply.alias(&at) {
                at = next;
                continue;
            }
            let texts = reply.at(&at).filter_map(|data| match data {
                RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into()),
                _ => None,
            });
            return Ok(texts.collect());
        }
        Err(format!("{name} is an alias of an alias, more than {ALIASES} times"))
    }

    /// The answer of a server that has the zone of `name`. That a name is not there is an answer only if
    /// each server says so that says anything.
    async fn authority(&self, name: &str, kind: RecordType) -> Result<(SocketAddr, Reply), String> {
        let servers = self.servers(name).await?;
        let (mut last, mut absent) = (String::new(), None);
        for server in servers.into_iter().take(ONE_SERVERS) {
            match question::ask(server, name, kind, Manner::default()).await {
                Ok(reply) if !reply.authoritative => {
                    last = format!("{server} does not have the zone of {name}");
                }
                Ok(reply) if reply.code == ResponseCode::NoError => return Ok((server, reply)),
                Ok(reply) if reply.code == ResponseCode::NXDomain && reply.zone().is_some() => {
                    absent.get_or_insert((server, reply));
                }
                Ok(reply) => last = format!("{server} answers {}", reply.code.to_str()),
                Err(reason) => last = reason,
            }
        }
        absent.ok_or(last)
    }

    /// The servers of the zone that `name` is in.
    async fn servers(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        let within = self.named.iter().filter(|(zone, _)| is_within(name, zone));
        if let Some((_, servers)) = within.max_by_key(|(zone, _)| zone.len()) {
            return Ok(servers.clone());
        }
        if let Some(known) = self.known.lock().await.get(name) {
            return known.clone();
        }
        let resolver = lookup::resolver(&self.resolvers)?;
        let servers = lookup::servers(&resolver, name).await;
        self.known.lock().await.insert(name.to_owned(), servers.clone());
        servers
    }

    async fn recurse(
        &self,
        name: &str,
        kind: RecordType,
        unchecked: bool,
    ) -> Result<Reply, String> {
        let mut last = String::new();
        for resolver in self.resolvers.iter().take(ONE_SERVERS) {
            match question::ask(*resolver, name, kind, Manner { recursive: true, unchecked }).await
            {
                Ok(reply) => return Ok(reply),
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// A resolver that answers each question with this code, and with this reason unless it is told not
    /// to check; then with nothing and no complaint. A server of a zone that says it has `zone`.
    fn server(code: u8, reason: Option<u16>, authority: bool) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let unchecked = buffer[3] & 0x10 != 0;
                // The question ends with type and class, behind the name's empty label.
                let end = 12 + buffer[12..length].iter().position(|octet| *octet == 0).unwrap() + 5;
                let mut answer = buffer[..end].to_vec();
                answer[2] = 0x80 | if authority { 0x04 } else { 0 };
                answer[3] = if unchecked && !authority { 0 } else { code };
                answer[6..12].fill(0);
                if authority {
                    answer[9] = 1;
                    // The start of authority of the question's own name, all of it empty.
                    answer.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
                    answer.extend([0; 20]);
                }
                if let Some(reason) = reason {
                    answer[11] = 1;
                    answer.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 9, 0, 15, 0, 5]);
                    answer.extend(reason.to_be_bytes());
                    answer.extend(b"why");
                }
                socket.send_to(&answer, from).unwrap();
            }
        });
        address
    }

    fn world(resolver: SocketAddr, zones: &[(&str, Vec<SocketAddr>)]) -> World {
        let named = zones.iter().map(|(zone, servers)| ((*zone).to_owned(), servers.clone()));
        World { resolvers: vec![resolver], named: named.collect(), known: Mutex::default() }
    }

    #[tokio::test]
    async fn what_a_resolver_says_of_dnssec_is_told() {
        // Reason 6 is that signatures do not hold (RFC 8914, section 4.7); 22 that nobody answers.
        for (reason, said) in [(Some(6), "(reason 6 of RFC 8914: why)"), (None, "Server Failure")] {
            let resolved = world(server(2, reason, false), &[]).resolved("a.example").await;
            let resolved = resolved.unwrap();
            assert!(resolved.forged, "{resolved:?}");
            assert!(resolved.refused.as_ref().unwrap().contains(said), "{resolved:?}");
        }
        let fine = world(server(3, None, false), &[]).resolved("a.example").await.unwrap();
        assert_eq!(fine, Resolved::default());
    }

    #[tokio::test]
    async fn a_name_is_absent_by_the_word_of_all_who_have_the_zone_and_of_nobody_else() {
        let (gone, there) = (server(3, None, true), server(0, None, true));
        let outsider = server(3, None, false);
        let ask = async |servers: Vec<SocketAddr>| {
            world(outsider, &[("example", servers)]).whereabouts("a.example").await
        };
        let absent = ask(vec![outsider, gone]).await.unwrap().absent.unwrap();
        assert_eq!((absent.name.as_str(), absent.zone.as_str()), ("a.example", "a.example"));
        // One of them has it.
        assert_eq!(ask(vec![gone, there]).await.unwrap().absent, None);
        // Who does not have the zone knows nothing of it, a resolver included.
        let reason = ask(vec![outsider]).await.unwrap_err();
        assert!(reason.contains("does not have the zone"), "{reason}");
        assert!(world(outsider, &[]).whereabouts("a.example").await.is_err());
    }
}
