//! The configuration of `keyward demo`: one site on this machine, without a file.

use std::net::SocketAddr;
use std::path::Path;

use super::load::{self, Loaded};
use super::problem::Problems;
use super::raw::RawOrigin;
use super::raw::{RawAdmin, RawConfig, RawListen, RawSite, RawState};

/// `localhost` and the loopback addresses, signed by the internal CA, in front of the built-in
/// page. State and the admin socket lie in `state_dir`, which is an absolute path.
///
/// # Errors
/// When the addresses clash or the path cannot be used.
pub fn embedded(
    https: &[SocketAddr],
    http: &[SocketAddr],
    state_dir: &Path,
) -> Result<Loaded, Problems> {
    let raw = RawConfig {
        listen: RawListen {
            https: https.iter().map(SocketAddr::to_string).collect(),
            http: http.iter().map(SocketAddr::to_string).collect(),
            proxy_from: Vec::new(),
        },
        state: RawState { dir: state_dir.to_string_lossy().into_owned() },
        admin: RawAdmin {
            socket: state_dir.join("run/admin.sock").to_string_lossy().into_owned(),
            ..RawAdmin::default()
        },
        site: vec![RawSite {
            names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            origin: Some(RawOrigin::One("builtin:welcome".to_owned())),
            // A client that asks for an address sends no name.
            default: true,
            ..RawSite::default()
        }],
        ..RawConfig::default()
    };
    load::embedded(&raw)
}

#[cfg(test)]
mod tests {
    use crate::cert::spec::IssuerName;

    use super::*;

    #[test]
    fn the_demo_needs_nobody_else() {
        let https = ["127.0.0.1:8443".parse().unwrap()];
        let http = ["127.0.0.1:8080".parse().unwrap()];
        let loaded = embedded(&https, &http, Path::new("/tmp/demo")).unwrap();
        assert_eq!(loaded.warnings, []);
        let config = loaded.config;
        assert_eq!(config.listen.https, https);
        assert_eq!(config.admin.socket, Path::new("/tmp/demo/run/admin.sock"));
        assert_eq!(config.sites.len(), 1);
        assert_eq!(config.sites[0].issuer, IssuerName::Internal);
        assert_eq!(config.sites[0].names.len(), 3);
        assert_eq!(config.sites[0].hsts, None);
        assert!(config.sites[0].default);
    }

    #[test]
    fn a_demo_that_cannot_run_is_refused() {
        let both = ["127.0.0.1:8443".parse().unwrap()];
        let problems = embedded(&both, &both, Path::new("relative")).unwrap_err();
        assert_eq!(problems.errors.len(), 3, "{problems}");
    }
}
