//! The window and the doorbell: a JSON interface on a local socket.
