//! The configuration of the simulated house.

use std::path::PathBuf;
use std::time::Duration;

use keyward::cert::challenge::ChallengeType;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::spec::IssuerName;
use keyward::config;
use keyward::config::Config;
use keyward::config::Site;

use crate::DIRECTORY;

pub(crate) fn acme() -> IssuerName {
    IssuerName::Acme(DIRECTORY.to_owned())
}

pub(crate) fn site(name: &str, issuer: IssuerName, profile: Option<&str>) -> Site {
    Site {
        names: vec![Identifier::parse(name).unwrap()],
        origin: config::Origin::Welcome,
        issuer,
        key: KeyAlgorithm::P256,
        profile: profile.map(str::to_owned),
        hsts: None,
        redirect: true,
        default: false,
        preserve_host: true,
        line: 0,
    }
}

pub(crate) fn configuration() -> Config {
    let second = Duration::from_secs(1);
    Config {
        acme: config::Acme {
            directory: DIRECTORY.to_owned(),
            contact: Vec::new(),
            accept_terms: true,
            challenges: vec![ChallengeType::Http01],
            ca_root: None,
            profile: None,
            eab: None,
            renewal_info: true,
        },
        listen: config::Listen { https: Vec::new(), http: Vec::new() },
        state: config::State { dir: PathBuf::new() },
        admin: config::Admin { socket: PathBuf::new(), group: None },
        vault: config::Vault { master_key: config::MasterKey::Auto, cache: 0 },
        edge: config::Edge {
            workers: 1,
            handshake_timeout: second,
            header_timeout: second,
            idle_timeout: second,
            connect_timeout: second,
            response_timeout: second,
            body_timeout: second,
            origin_idle: 0,
            max_connections: 1,
            drain_timeout: second,
        },
        log: config::Log { level: String::new(), format: config::LogFormat::Text },
        sites: vec![
            site("classic.example", acme(), None),
            site("short.example", acme(), Some("shortlived")),
            site("comes-and-goes.example", acme(), None),
            site("nas.internal", IssuerName::Internal, None),
        ],
        source: None,
    }
}
