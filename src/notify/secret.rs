//! Reads what a channel keeps in a file of its own: a URL, or a secret.
//!
//! It is read anew for each message, so that a replaced file needs no reload.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::bounds::news::SECRET;
use crate::config::Place;
use crate::config::why_not_private;

/// The first line of the file.
///
/// # Errors
/// In words, naming the file.
pub(super) async fn line(path: &Path) -> Result<Zeroizing<String>, String> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut text = Zeroizing::new(String::new());
        let file = File::open(&path).and_then(|file| file.take(SECRET).read_to_string(&mut text));
        match file {
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
            Ok(_) => match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
                Some(line) => Ok(Zeroizing::new(line.to_owned())),
                None => Err(format!("{} is empty", path.display())),
            },
        }
    });
    read.await.map_err(|_| "the daemon is ending".to_owned())?
}

/// The URL at `place`.
///
/// # Errors
/// In words; never the URL.
pub(super) async fn url(place: &Place) -> Result<Zeroizing<String>, String> {
    match place {
        Place::Url(url) => Ok(Zeroizing::new(url.clone())),
        Place::File(path) => {
            let url = line(path).await?;
            match why_not_private(&url, "called") {
                None => Ok(url),
                Some(why) => Err(format!("the URL in {} {why}", path.display())),
            }
        }
    }
}
