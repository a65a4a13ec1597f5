//! What may be written after `trust`.

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct Trust {
    /// Print the root as PEM (the usual case)
    #[arg(long)]
    pub(super) print: bool,
    /// Put the root into the trust store of this machine; needs root
    #[arg(long)]
    pub(super) install: bool,
    /// Take it out again; needs root
    #[arg(long)]
    pub(super) uninstall: bool,
}
