//! Whether a name leads to this machine: by an alias, or by its addresses.
//!
//! Nothing is kept; whoever asks bounds how often.

use std::net::IpAddr;
use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;

use super::lookup;
use crate::base::bounds::dns::ALIASES;

/// Who is asked where names lead.
#[derive(Debug)]
pub struct Guide {
    resolver: TokioResolver,
}

/// Why a name does not lead here.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Astray {
    /// It leads elsewhere, or nowhere.
    #[error("{0}")]
    Elsewhere(String),
    /// Nobody says where it leads.
    #[error("nobody says where it leads: {0}")]
    Unknown(String),
}

impl Guide {
    /// Asks these servers, or the system's where there are none.
    ///
    /// # Errors
    /// In words, when the system names none.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, String> {
        Ok(Self { resolver: lookup::resolver(servers)? })
    }

    /// Whether `name` leads to `target` over aliases, or has addresses and all of them are among
    /// `addresses`. Names are in normal form.
    ///
    /// # Errors
    /// [`Astray`].
    pub async fn leads(
        &self,
        name: &str,
        target: &str,
        addresses: &[IpAddr],
    ) -> Result<(), Astray> {
        let mut way = vec![name.to_owned()];
        loop {
            let at = way.last().map_or(name, String::as_str);
            let found = self.ask(at, RecordType::CNAME).await?;
            let next = found.into_iter().find_map(|data| match data {
                RData::CNAME(alias) => Some(lookup::plain(&alias.0)),
                _ => None,
            });
            match next {
                Some(next) if next == target => return Ok(()),
                Some(next) if way.contains(&next) => {
                    return Err(Astray::Elsewhere("its aliases go round in a circle".to_owned()));
                }
                Some(_) if way.len() >= ALIASES => {
                    let told = format!("it is an alias of an alias, more than {ALIASES} times");
                    return Err(Astray::Elsewhere(told));
                }
                Some(next) => way.push(next),
                None => break,
            }
        }
        let end = way.last().map_or(name, String::as_str);
        let mut found = Vec::new();
        if !addresses.is_empty() {
            for kind in [RecordType::A, RecordType::AAAA] {
                found.extend(self.ask(end, kind).await?.into_iter().filter_map(
                    |data| match data {
                        RData::A(address) => Some(IpAddr::V4(address.0)),
                        RData::AAAA(address) => Some(IpAddr::V6(address.0).to_canonical()),
                        _ => None,
                    },
                ));
            }
        }
        let alias = match way.as_slice() {
            [_] => "it is no alias".to_owned(),
            _ => format!("its alias leads to {end}"),
        };
        match found.iter().find(|address| !addresses.contains(address)) {
            Some(other) => Err(Astray::Elsewhere(format!(
                "{alias}, and {other} is no address of this machine"
            ))),
            None if found.is_empty() => Err(Astray::Elsewhere(format!(
                "{alias}, and there is no address that is this machine's"
            ))),
            None => Ok(()),
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Astray> {
        lookup::ask(&self.resolver, name, kind).await.map_err(Astray::Unknown)
    }
}
