//! What `keyward demo` tells the person at the terminal once it serves.
#![expect(clippy::print_stdout, reason = "the demonstration speaks to a person")]

use std::path::Path;

use crate::config::Config;

/// Where the root of the internal CA is put, so that curl can be told to trust it.
pub(super) fn root_path(config: &Config) -> std::path::PathBuf {
    config.admin.socket.with_file_name("root.pem")
}

/// Prints what to try. `root` is the PEM of the internal CA, if it could be had.
pub(super) fn introduce(config: &Config, root: Option<&str>) {
    let Some(https) = config.listen.https.first() else { return };
    let port = https.port();
    println!("keyward serves https://localhost:{port} in front of a page of its own.");
    if let Some(http) = config.listen.http.first() {
        println!("http://localhost:{} is redirected there.", http.port());
    }
    println!("\nTry, in another terminal:\n");
    let path = root_path(config);
    match root.map(|pem| crate::base::disk::replace(&path, pem.as_bytes(), 0o644)) {
        Some(Ok(())) => {
            println!("  curl --cacert {} https://localhost:{port}/", shown(&path));
        }
        Some(Err(_)) | None => println!("  curl --insecure https://localhost:{port}/"),
    }
    println!("  {} --socket {} status", program(), shown(&config.admin.socket));
    println!("\nCtrl-C ends it; the state stays in {}.", shown(&config.state.dir));
}

/// The path as seen from the working directory, when it lies below it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path).display().to_string()
}

/// How this very program is called from the working directory.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "keyward".to_owned(), |exe| shown(&exe))
}
