//! `keyward probe`: a look at a server, in a process that is nothing else.

use tokio::runtime::Builder;

use super::Failed;
use crate::admin::wire::Moment;
use crate::admin::wire::probe::Seen as Told;
use crate::cli::ProbeOptions;
use crate::deploy::probe::Seen;
use crate::deploy::probe::probe_for;

/// What is shown there.
///
/// # Errors
/// In words, with status 1, when nothing is seen.
pub(super) fn probe(options: &ProbeOptions) -> Result<Told, Failed> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failed::fault)?;
    let looking = probe_for(&options.place, &options.sni, options.key, options.within);
    let looked = runtime.block_on(looking);
    // A resolver that does not answer is not waited for.
    runtime.shutdown_background();
    looked.map(told).map_err(|error| Failed { status: 1, report: error.to_string() })
}

/// As it travels.
pub(super) fn told(seen: Seen) -> Told {
    Told {
        leaf: seen.leaf.iter().map(|octet| format!("{octet:02x}")).collect(),
        serial: seen.serial,
        names: seen.names,
        issuer: seen.issuer,
        key: seen.key,
        not_before: Moment(seen.not_before),
        not_after: Moment(seen.not_after),
        chain: seen.chain_len,
        protocol: seen.protocol.to_owned(),
        proven: seen.proven,
        addresses: seen.at.iter().map(ToString::to_string).collect(),
        silent: seen.silent.into_iter().map(|(_, reason)| reason).collect(),
        passed_over: seen.passed_over,
    }
}
