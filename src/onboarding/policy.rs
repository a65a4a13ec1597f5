//! Which names may be onboarded, as far as the name alone tells. Pure.

use std::collections::HashSet;

use crate::cert::identifier::DnsName;
use crate::cert::identifier::Identifier;
use crate::config::Config;
use crate::config::Onboarding;
use crate::issuer::dns::Astray;

/// Why a name is not onboarded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The configuration has no target.
    #[error("no name is onboarded: [onboarding] has no target")]
    Off,
    /// It is no host name.
    #[error("it is no host name that a certificate can be for: {0}")]
    Shape(String),
    /// It has too many labels.
    #[error("it has more than {0} labels, the most that [onboarding] admits")]
    Labels(usize),
    /// It is the target.
    #[error("it is the target itself, to which others lead")]
    Target,
    /// No public CA signs it.
    #[error("no public CA signs such a name")]
    Internal,
    /// Nobody can own it.
    #[error("it is a suffix below which anybody may have names")]
    PublicSuffix,
    /// It is below none of the suffixes.
    #[error("it is below none of the suffixes of [onboarding]")]
    Suffix,
    /// It is below one that is denied.
    #[error("[onboarding] denies it")]
    Denied,
    /// A site has it.
    #[error("a site of the configuration has it")]
    Site,
    /// Somebody had it offboarded.
    #[error("it was offboarded; keyward onboard brings it back")]
    Barred,
    /// It leads elsewhere.
    #[error(transparent)]
    Astray(#[from] Astray),
    /// Whoever is to be asked does not want it.
    #[error("whoever [onboarding] asks says no: {0}")]
    Unwanted(String),
    /// Whoever is to be asked does not answer.
    #[error("whoever [onboarding] asks gives no answer: {0}")]
    Unasked(String),
    /// There are as many as there may be.
    #[error("{0} names are onboarded, the most that [onboarding] admits")]
    Full(u64),
    /// Too many at this moment.
    #[error("there were too many of {0} of late")]
    TooMany(&'static str),
    /// It was refused a moment ago.
    #[error("it was looked at a moment ago and refused")]
    Known,
    /// Its own origin is none.
    #[error("its origin cannot be used: {0}")]
    Origin(String),
    /// The store refuses.
    #[error("the store refuses: {0}")]
    Store(String),
}

/// The names of sites and of services, as they are asked for.
#[derive(Debug, Default)]
pub(super) struct Taken {
    names: HashSet<Box<str>>,
    wildcards: HashSet<Box<str>>,
}

impl Taken {
    pub(super) fn of(config: &Config) -> Self {
        let mut taken = Self::default();
        let sites = config.sites.iter().flat_map(|site| &site.names);
        for name in sites.chain(config.tcp.iter().flat_map(|service| &service.names)) {
            match name {
                Identifier::Dns(name) => taken.names.insert(name.as_str().into()),
                Identifier::Wildcard(base) => taken.wildcards.insert(base.as_str().into()),
                Identifier::Ip(_) => false,
            };
        }
        taken
    }

    pub(super) fn has(&self, name: &DnsName) -> bool {
        self.names.contains(name.as_str())
            || name.parent().is_some_and(|base| self.wildcards.contains(base))
    }
}

/// What `text`, as a client asks for it, is as a name.
pub(super) fn read(text: &str) -> Result<DnsName, Refusal> {
    match Identifier::parse(text) {
        Ok(Identifier::Dns(name)) => Ok(name),
        Ok(Identifier::Wildcard(_)) => Err(Refusal::Shape("it is a wildcard".to_owned())),
        Ok(Identifier::Ip(_)) => Err(Refusal::Shape("it is an address".to_owned())),
        Err(error) => Err(Refusal::Shape(error.to_string())),
    }
}

/// Whether `name` may be onboarded. One that is asked for by a person need be below no suffix.
pub(super) fn admits(
    config: &Config,
    plan: &Onboarding,
    taken: &Taken,
    name: &DnsName,
    by_hand: bool,
) -> Result<(), Refusal> {
    let labels = name.as_str().split('.').count();
    if labels > plan.labels {
        return Err(Refusal::Labels(plan.labels));
    }
    if *name == plan.target {
        return Err(Refusal::Target);
    }
    let ca = config.authority(&plan.site.issuer);
    let public = ca.is_some_and(|ca| ca.ca_root.is_none());
    if labels < 2 || public && Identifier::Dns(name.clone()).is_internal() {
        return Err(Refusal::Internal);
    }
    if domain(name).is_none() {
        return Err(Refusal::PublicSuffix);
    }
    let among = |list: &[DnsName]| list.iter().any(|suffix| is_below(name, suffix));
    if !by_hand && !plan.suffixes.is_empty() && !among(&plan.suffixes) {
        return Err(Refusal::Suffix);
    }
    if !by_hand && among(&plan.denied) {
        return Err(Refusal::Denied);
    }
    if taken.has(name) {
        return Err(Refusal::Site);
    }
    Ok(())
}

fn is_below(name: &DnsName, suffix: &DnsName) -> bool {
    let rest = name.as_str().strip_suffix(suffix.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The registered domain that `name` is in, by which CAs count.
pub(super) fn domain(name: &DnsName) -> Option<&str> {
    psl::domain_str(name.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    const FILE: &str = "[acme]\naccept_terms = true\n[onboarding]\ntarget = 'edge.example.net'\n\
                        origin = 'http://127.0.0.1:8080'\nmax_labels = 4\n\
                        suffixes = ['shops.example', 'other.example']\ndenied = ['bad.shops.example']\n\
                        [[site]]\nnames = ['own.shops.example', '*.w.shops.example']\n\
                        origin = 'http://127.0.0.1:8080'\nissuer = 'internal'\n";

    fn said(name: &str, by_hand: bool) -> Result<(), Refusal> {
        let config = parse(FILE, Path::new("keyward.toml"), [("", ""); 0]).unwrap().config;
        let plan = config.onboarding.clone().unwrap();
        admits(&config, &plan, &Taken::of(&config), &read(name)?, by_hand)
    }

    #[test]
    fn a_name_is_held_to_its_shape_the_suffixes_and_the_sites() {
        for good in ["a.shops.example", "A.SHOPS.example.", "shops.example", "x.other.example"] {
            assert_eq!(said(good, false), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("a.elsewhere.example", Refusal::Suffix),
            // Letters that only end alike are no suffix.
            ("myshops.example", Refusal::Suffix),
            ("bad.shops.example", Refusal::Denied),
            ("x.bad.shops.example", Refusal::Denied),
            ("a.b.c.shops.example", Refusal::Labels(4)),
            ("own.shops.example", Refusal::Site),
            ("any.w.shops.example", Refusal::Site),
            ("edge.example.net", Refusal::Target),
            ("shop.internal", Refusal::Internal),
            ("co.uk", Refusal::PublicSuffix),
        ] {
            assert_eq!(said(bad, false), Err(why), "{bad}");
        }
        for shapeless in
            ["192.0.2.7", "[2001:db8::1]", "*.shops.example", "single", "a..example", ""]
        {
            assert!(matches!(said(shapeless, false), Err(Refusal::Shape(_))), "{shapeless}");
        }
        let long = vec!["a"; 120].join(".") + ".shops.example";
        assert_eq!(said(&long, false), Err(Refusal::Labels(4)));
        let longer = vec!["a"; 200].join(".") + ".shops.example";
        assert!(
            matches!(said(&longer, false), Err(Refusal::Shape(_))),
            "more than a name can have"
        );
    }

    #[test]
    fn a_person_may_have_what_is_below_no_suffix_and_not_what_a_site_has() {
        assert_eq!(said("a.elsewhere.example", true), Ok(()));
        assert_eq!(said("bad.shops.example", true), Ok(()));
        assert_eq!(said("own.shops.example", true), Err(Refusal::Site));
        assert_eq!(said("shop.internal", true), Err(Refusal::Internal));
    }

    #[test]
    fn names_of_one_owner_are_counted_together() {
        let of = |name: &str| domain(&read(name).unwrap()).map(str::to_owned);
        assert_eq!(of("a.b.shop.co.uk").as_deref(), Some("shop.co.uk"));
        assert_eq!(of("x.shops.example").as_deref(), Some("shops.example"));
        assert_eq!(of("co.uk"), None);
    }
}
