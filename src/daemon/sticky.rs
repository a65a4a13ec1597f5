//! The key of the cookies that lead clients to the same server again, kept in a file.
//!
//! Whoever has it can choose his server, and read which one a client has: no more than that, so it is
//! main's, and no backup holds it.

use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::open::Places;
use crate::base::disk;
use crate::base::tls;
use crate::config::Config;
use crate::config::Origin;
use crate::config::Site;
use crate::edge::Edge;
use crate::vault::ticket::RawTicketKey;

const FILE: &str = "sticky.key";

/// A name, and a key.
const OCTETS: usize = 16 + 32;

/// Gives the edge its key, if some site has such a cookie.
pub(super) fn begin(config: &Config, edge: &Edge) {
    let sticks = |site: &Site| matches!(&site.origin, Origin::Servers(s) if s.sticky.is_some());
    if !config.sites.iter().any(sticks) {
        return;
    }
    match key(&Places::of(config).served) {
        Ok(key) => edge.stick_by(&key),
        Err(error) => {
            tracing::warn!(%error, "cookies that lead to servers hold until the next start only");
        }
    }
}

/// The key in `dir`, made where there is none. Main may write to few directories; this one holds what
/// the edge serves by.
///
/// # Errors
/// When it cannot be read or written, or there is no randomness.
fn key(dir: &Path) -> io::Result<RawTicketKey> {
    let path = dir.join(FILE);
    let mut octets = Zeroizing::new([0; OCTETS]);
    match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
        Ok(mut file) if file.metadata()?.len() == OCTETS as u64 => {
            file.read_exact(&mut *octets)?;
        }
        // Another length is that of no file of ours.
        Ok(_) => make(&path, &mut octets)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path, &mut octets)?,
        Err(error) => return Err(error),
    }
    let (mut name, mut key) = ([0; 16], Zeroizing::new([0; 32]));
    name.iter_mut().zip(octets.iter()).for_each(|(to, from)| *to = *from);
    key.iter_mut().zip(octets.iter().skip(name.len())).for_each(|(to, from)| *to = *from);
    Ok(RawTicketKey { name, key: Some(key) })
}

fn make(path: &Path, octets: &mut [u8; OCTETS]) -> io::Result<()> {
    tls::fill(octets).ok_or_else(|| io::Error::other("there is no randomness"))?;
    disk::replace(path, octets, 0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_the_same_at_the_next_start_and_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let first = key(dir.path()).unwrap();
        let again = key(dir.path()).unwrap();
        assert_eq!((first.name, first.key), (again.name, again.key.clone()));
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Half of one is none.
        std::fs::write(&path, [7; 20]).unwrap();
        let other = key(dir.path()).unwrap();
        assert_ne!(other.key, again.key);
        assert_eq!(key(dir.path()).unwrap().key, other.key);
    }
}
