//! Arguments, one call, an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    // These are this program's own children, not commands for people.
    match std::env::args_os().nth(1).as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("vault") => return keyward::vault::serve_vault(),
        Some("vault-keeper") => return keyward::vault::serve_keeper(),
        Some("dns-porter") => return keyward::issuer::dns::serve_porter(),
        Some("dns-clerk") => return keyward::issuer::dns::serve_clerk(),
        Some("deploy-porter") => return keyward::deploy::hand::serve_porter(),
        Some("deploy-one") => return keyward::deploy::hand::serve_hand(),
        _ => {}
    }
    ExitCode::from(keyward::cli::main(std::env::args_os(), keyward::daemon::ENTRANCES))
}
