//! URLs by which something is asked or told: nobody on the way may read or change it.

use url::{Host, Url};

/// Why `text` is no such URL, in words without it, if it is none; `done` is what becomes of it, such as
/// `called`. By https anywhere, by http on this machine alone.
pub fn why_not_private(text: &str, done: &str) -> Option<String> {
    let url = match Url::parse(text) {
        Err(error) => return Some(format!("is no URL: {error}")),
        Ok(url) => url,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("has a user name or password in it".to_owned());
    }
    if url.fragment().is_some() {
        return Some("has a fragment, which is never sent".to_owned());
    }
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" if url.host().is_some() => None,
        "http" if here => None,
        "http" => Some(format!("is {done} without TLS, over a network")),
        scheme => Some(format!("has the scheme {scheme:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_nothing_leaves_this_machine() {
        for good in
            ["https://hooks.example/x", "http://127.0.0.1:9/x", "http://[::1]/", "http://localhost"]
        {
            assert_eq!(why_not_private(good, "called"), None, "{good}");
        }
        let told = "is called without TLS, over a network";
        for bad in ["http://127.0.0.1.hooks.example/x", "http://hooks.example", "http://192.0.2.7/"]
        {
            assert_eq!(why_not_private(bad, "called").as_deref(), Some(told), "{bad}");
        }
        for bad in
            ["https://me:it@hooks.example/", "https://hooks.example/#x", "ftp://localhost/", "x"]
        {
            assert!(why_not_private(bad, "called").is_some(), "{bad}");
        }
    }
}
