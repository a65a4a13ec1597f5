//! What may be written after `issue`.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Issue {
    /// The names of one certificate; *.shop.example for a wildcard
    #[arg(value_name = "NAME", required_unless_present_any = ["file", "csr"], conflicts_with = "file")]
    pub(super) names: Vec<String>,
    /// The kind of key: p256, p384 or rsa2048
    #[arg(long, value_name = "KIND", value_parser = ["p256", "p384", "rsa2048"], conflicts_with = "csr")]
    pub(super) key: Option<String>,
    /// Let the key be handed out, now or later
    #[arg(long, conflicts_with = "csr")]
    pub(super) exportable: bool,
    /// Renew it before it ends
    #[arg(long)]
    pub(super) hosted: bool,
    /// A request that was made with a key elsewhere (PEM or DER); the key never comes here
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(super) csr: Option<PathBuf>,
    /// Write NAME.crt into this directory, and the key as NAME.key with mode 600
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Write the certificate and its intermediates here
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "file"])]
    pub(super) chain: Option<PathBuf>,
    /// Write the private key here, with mode 600
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "file", "csr"])]
    pub(super) key_out: Option<PathBuf>,
    /// Replace files that are there already
    #[arg(long)]
    pub(super) force: bool,
    /// Order it and do not wait
    #[arg(long, conflicts_with_all = ["chain", "key_out", "out", "file"])]
    pub(super) no_wait: bool,
    /// On behalf of this client; for operators
    #[arg(long, value_name = "CLIENT")]
    pub(super) client: Option<String>,
    /// By which the same order is found again, however often this is said
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub(super) idempotency_key: Option<String>,
    /// Many: a file with the names of one certificate in each line, or CSV with the header
    /// names,key,exportable,hosted,out; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Of many, have so many ordered at once
    #[arg(long, value_name = "N", default_value = "32", requires = "file",
          value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(super) at_once: u16,
    /// Of many, tell what would be ordered and what is left of the allowance, and order nothing
    #[arg(long, requires = "file")]
    pub(super) dry_run: bool,
    /// Of many, write what became of each line as CSV
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(super) report: Option<PathBuf>,
    /// Of many, tell these apart from the same lines in another batch: without it, a line that was
    /// issued before is not ordered again
    #[arg(long, value_name = "TEXT", requires = "file")]
    pub(super) batch: Option<String>,
}

const AFTER_HELP: &str = "\
Exit statuses:
   0  issued; of many, all
   1  refused or failed; of many, none was issued
   2  of many, some were issued and some were not
  65  the file has bad lines: nothing was ordered
  69  the daemon does not answer
  75  interrupted: say the same again, and it goes on where it was

A file that is run again orders nothing twice: each line is found again by what stands in it.
With --out or --key-out the key is made exportable.";
