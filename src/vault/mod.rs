//! The one place where a private key exists in the clear: its own process, and the way to it.
