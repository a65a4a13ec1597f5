//! The command line: arguments, clients of the admin socket, and what a person sees.

pub mod check;
