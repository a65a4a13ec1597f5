//! The front door: TLS, HTTP and the way to the origins.
