//! The configuration of the simulated house.

use std::path::Path;

use keyward_years::cert::identifier::Identifier;
use keyward_years::cert::key::KeyAlgorithm;
use keyward_years::cert::spec::IssuerName;
use keyward_years::config;
use keyward_years::config::Config;
use keyward_years::config::Site;

use crate::DIRECTORY;
use crate::SECOND;

/// The name for which somebody else's certificates are brought.
pub(crate) const BROUGHT: &str = "brought.example";

pub(crate) fn acme() -> IssuerName {
    IssuerName::Acme(DIRECTORY.to_owned())
}

/// The CA beside it.
pub(crate) fn second() -> IssuerName {
    IssuerName::Acme(SECOND.to_owned())
}

/// The same house where every site of the first CA may have its certificates from the second.
pub(crate) fn with_two_cas() -> Config {
    let mut config = configuration();
    for site in config.sites.iter_mut().filter(|site| site.issuer == acme()) {
        site.further = vec![second()];
    }
    config
}

/// The same house where one of the second stands by for every site of the first CA.
pub(crate) fn with_standbys() -> Config {
    let mut config = configuration();
    for site in config.sites.iter_mut().filter(|site| site.issuer == acme()) {
        site.standby = Some(second());
    }
    config
}

pub(crate) fn site(name: &str, issuer: IssuerName, profile: Option<&str>) -> Site {
    Site {
        names: vec![Identifier::parse(name).unwrap()],
        origin: config::Origin::Welcome,
        further: Vec::new(),
        standby: None,
        preferred_chain: None,
        issuer,
        key: KeyAlgorithm::P256,
        profile: profile.map(str::to_owned),
        hsts: None,
        redirect: true,
        default: false,
        preserve_host: true,
        second_key: None,
        reuse_key: false,
        early_data: false,
        access_log: true,
        tls_headers: false,
        challenge: None,
        policy: config::Policy::default(),
        routes: Vec::new(),
        tls: config::Agreement::default(),
        clients: None,
        exportable: false,
        keeping: config::Keeping::default(),
        line: 0,
    }
}

pub(crate) fn configuration() -> Config {
    let text = format!(
        "[acme]\ndirectory = '{DIRECTORY}'\naccept_terms = true\n\
         [[ca]]\nname = 'second'\ndirectory = '{SECOND}'\naccept_terms = true\n"
    );
    let environment = std::iter::empty::<(String, String)>();
    let mut config = config::parse(&text, Path::new("test"), environment).unwrap().config;
    config.sites = vec![
        site("classic.example", acme(), None),
        site("short.example", acme(), Some("shortlived")),
        site("comes-and-goes.example", acme(), None),
        site("nas.internal", IssuerName::Internal, None),
        Site { reuse_key: true, ..site("pinned.example", acme(), None) },
        site(BROUGHT, IssuerName::Imported, None),
    ];
    config
}
