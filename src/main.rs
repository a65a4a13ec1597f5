//! Arguments, one call, an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(keyward::cli::main(std::env::args_os()))
}
