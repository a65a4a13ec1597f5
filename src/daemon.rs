//! Connects the rooms: open, spawn, wire, supervise, reload, drain. Otherwise it does nothing.
