//! What may be written behind `keyward doctor`.

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// A name it is for, its id, or the beginning of the id; any name that is to be served
    pub(super) name: String,
    /// Also order from a directory that is for trying: the CA's own where it is known, or this one; what
    /// is issued is thrown away, with its key and the account
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(super) staging: Option<String>,
}
