//! Lists of networks, each an address or an address with the length of its prefix.

use std::net::IpAddr;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::network::IpNetwork;
use super::quoted;

/// Networks of balancers, which cannot be everybody.
pub(super) fn check(raw: &[String], key: &KeyPath, findings: &mut Findings) -> Vec<IpNetwork> {
    list(raw, false, key, findings)
}

/// Networks of clients.
pub(super) fn clients(raw: &[String], key: &KeyPath, findings: &mut Findings) -> Vec<IpNetwork> {
    list(raw, true, key, findings)
}

fn list(raw: &[String], everybody: bool, key: &KeyPath, findings: &mut Findings) -> Vec<IpNetwork> {
    let mut networks = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let key = key.index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        match parse(text) {
            Some(network) if network.prefix == 0 && !everybody => {
                findings
                    .error(&key, format!("{} is everybody", quoted(text)))
                    .expected("the networks of your own balancers, such as \"10.0.0.0/8\"");
            }
            Some(network) => networks.push(network),
            None => {
                findings
                    .error(&key, format!("{} is no network", quoted(text)))
                    .expected("an address, or one with a prefix, such as \"10.0.0.0/8\"");
            }
        }
    }
    networks
}

fn parse(text: &str) -> Option<IpNetwork> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => most,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    let network = IpNetwork { address, prefix };
    // An address that is not the first of its network is a slip of the pen.
    (prefix <= most && network.first() == address).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_what_is_in_it() {
        let has = |network: &str, address: &str| {
            parse(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.8"));
        assert!(has("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!has("2001:db8::/33", "2001:db8:8000::1"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"), "as a socket for both families says it");
        assert!(!has("10.0.0.0/8", "::1") && !has("::/1", "10.0.0.1"));
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "x", "", "::/129"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
