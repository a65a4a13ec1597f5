//! What may be written after `deploy`, `undeploy` and `deployments`.

/// Bring a certificate to a target.
#[derive(Debug, clap::Args)]
pub(super) struct Deploy {
    /// A name of the certificate, its id, or the beginning of the id
    pub(super) certificate: String,
    /// The name of a `[[target]]`
    #[arg(long, value_name = "TARGET")]
    pub(super) to: String,
    /// Do not wait until it is there
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// Bring it there no more.
#[derive(Debug, clap::Args)]
pub(super) struct Undeploy {
    /// A name of the certificate, its id, or the beginning of the id
    pub(super) certificate: String,
    /// The name of the target
    #[arg(long, value_name = "TARGET")]
    pub(super) from: String,
}

/// List what is brought where.
#[derive(Debug, clap::Args)]
pub(super) struct Deployments {
    /// Only those to this target
    pub(super) target: Option<String>,
    /// Only those in this state: pending, deployed, verified, drifted, failed, rolled-back
    #[arg(long, value_name = "STATE")]
    pub(super) state: Option<String>,
    /// Look now at every place what is shown there
    #[arg(long)]
    pub(super) probe: bool,
}
