//! Arguments, one call, an exit status.

fn main() {}
