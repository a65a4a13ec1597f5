//! Leaves of every level, brand and type, held against one another.

use super::*;

/// The `certificatePolicies` extension with these policies (RFC 5280, section 4.2.1.4), DER.
fn policies(oids: &[&[u64]]) -> rcgen::CustomExtension {
    let length = |octets: &[u8]| u8::try_from(octets.len()).unwrap();
    let mut all = Vec::new();
    for oid in oids {
        let mut octets = vec![u8::try_from(oid[0] * 40 + oid[1]).unwrap()];
        for arc in &oid[2..] {
            if *arc >= 128 {
                octets.push(0x80 | u8::try_from(arc >> 7).unwrap());
            }
            octets.push(u8::try_from(arc & 0x7f).unwrap());
        }
        let oid = [&[6, length(&octets)][..], &octets].concat();
        all.extend([&[0x30, length(&oid)][..], &oid].concat());
    }
    let content = [&[0x30, length(&all)][..], &all].concat();
    rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 32], content)
}

const DV: &[u64] = &[2, 23, 140, 1, 2, 1];
const OV: &[u64] = &[2, 23, 140, 1, 2, 2];
const EV: &[u64] = &[2, 23, 140, 1, 1];
const OWN: &[u64] = &[1, 3, 6, 1, 4, 5];

fn leaf(names: &[&str], brand: &str, oids: &[&[u64]]) -> Likeness {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(rcgen::DnType::OrganizationName, brand);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "R1");
    let issuer = rcgen::Issuer::new(ca, rcgen::KeyPair::generate().unwrap());
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    if !oids.is_empty() {
        params.custom_extensions.push(policies(oids));
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
    Likeness::of(&Chain::from_der(vec![der]).unwrap()).unwrap()
}

#[test]
fn level_and_brand_are_read_from_the_leaf() {
    let read = |oids: &[&[u64]]| leaf(&["a.example"], "One", oids).level;
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[OWN]), None);
    assert_eq!(read(&[DV]), Some(Level::Domain));
    assert_eq!(read(&[OWN, OV]), Some(Level::Organisation));
    assert_eq!(read(&[EV, DV]), Some(Level::Extended));
    assert_eq!(leaf(&["a.example"], "One", &[]).brand, "One");
}

#[test]
fn the_type_is_single_wildcard_or_multi() {
    for (names, kind) in [
        (&["a.example"][..], Type::Single),
        (&["*.a.example"], Type::Wildcard),
        (&["*.a.example", "a.example"], Type::Wildcard),
        (&["*.a.example", "b.example"], Type::Multi),
        (&["a.example", "b.example"], Type::Multi),
    ] {
        assert_eq!(leaf(names, "One", &[]).kind(), kind, "{names:?}");
    }
}

#[test]
fn each_difference_is_named_and_only_what_was_agreed_to_is_let_through() {
    let none = Accept::default();
    let dv = Accept { dv: true, issuer: false };
    let issuer = Accept { dv: false, issuer: true };
    let (plain, ov) = (leaf(&["a.example"], "One", &[DV]), leaf(&["a.example"], "One", &[OV]));
    let ev = leaf(&["a.example"], "One", &[EV]);
    let silent = leaf(&["a.example"], "One", &[]);
    let other = leaf(&["a.example"], "Other", &[DV]);
    assert_eq!(plain.difference(&plain, none), None);
    assert_eq!(plain.difference(&silent, none), None);
    assert_eq!(silent.difference(&plain, none), None);
    assert_eq!(plain.difference(&ov, none), None, "more than there was is no loss");
    let told = ov.difference(&plain, none).unwrap();
    assert_eq!(told.to_string(), "its level would be DV, and is OV");
    assert_eq!(told.agreed_by(), Some("dv"));
    assert!(ov.difference(&silent, none).is_some());
    assert_eq!(ov.difference(&plain, dv), None);
    assert!(ev.difference(&ov, dv).is_some(), "OV was not agreed to");
    assert!(ov.difference(&plain, issuer).is_some());
    let told = plain.difference(&other, none).unwrap();
    assert_eq!(told.to_string(), "its issuer would be Other, and is One");
    assert_eq!(told.agreed_by(), Some("issuer"));
    assert_eq!(plain.difference(&other, issuer), None);
    assert!(ov.difference(&other, issuer).is_some(), "the level was not agreed to");
    assert_eq!(ov.difference(&other, dv.or(issuer)), None);
    let more = leaf(&["a.example", "b.example"], "One", &[DV]);
    let told = plain.difference(&more, dv.or(issuer)).unwrap();
    assert_eq!(
        told.to_string(),
        "its names would be a.example b.example (multi), and are a.example (single)"
    );
    assert_eq!(told.agreed_by(), None);
}
