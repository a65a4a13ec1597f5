//! Decides what to do next for every certificate, and has it done.
