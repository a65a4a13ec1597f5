//! `unix:/path` as an origin: a server that listens on a socket of this machine.
//!
//! Whether the socket is there is not asked: its server may start later.

use std::path::{Component, Path, PathBuf};

use super::origin::{Refusal, refuse};
use super::quoted;
use super::service::SOCKET_PATH;

/// What stands before the path.
pub(super) const SCHEME: &str = "unix:";

/// Places that the service sees empty, or its own of (`PrivateTmp=`, `ProtectHome=` in its unit).
const HIDDEN: [&str; 5] = ["/tmp", "/var/tmp", "/home", "/root", "/run/user"];

/// The path after the scheme, if a server may be asked there. `admin` is keyward's own socket:
/// whoever reached that through a site would be taken for the daemon's own user.
pub(super) fn path(text: &str, admin: &Path) -> Result<PathBuf, Refusal> {
    let path = Path::new(text);
    if text.contains('\0') {
        return refuse("the path of the origin's socket has a NUL in it", None);
    }
    if !path.is_absolute() || text.starts_with("//") {
        let bare = text.trim_start_matches('/');
        let hint = Some(format!("\"{SCHEME}/{bare}\"")).filter(|_| !bare.is_empty());
        let why = if path.is_absolute() { "begins with two slashes" } else { "is not absolute" };
        return refuse(format!("the path {} of the origin's socket {why}", quoted(text)), hint);
    }
    if path.components().any(|part| part == Component::ParentDir) || text.ends_with('/') {
        return refuse(format!("the path {} names no socket", quoted(text)), None);
    }
    if text.len() > SOCKET_PATH {
        return refuse(
            format!("the path of the origin's socket has {} octets", text.len()),
            Some(format!("a path of at most {SOCKET_PATH}, which is what the kernel takes")),
        );
    }
    let same = |one: &Path, two: &Path| match (one.canonicalize(), two.canonicalize()) {
        (Ok(one), Ok(two)) => one == two,
        _ => one.components().eq(two.components()),
    };
    if same(path, admin) {
        return refuse(
            "the origin is keyward's own admin socket, which would be open to everybody",
            Some("the socket of the server behind the site".to_owned()),
        );
    }
    Ok(path.components().collect())
}

/// The place in which the service would look in vain for a socket that others see there.
pub(super) fn hidden(path: &Path) -> Option<&'static str> {
    HIDDEN.into_iter().find(|place| path.starts_with(place))
}
