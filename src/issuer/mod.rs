//! Certificates from an ACME CA (RFC 8555) or from the internal CA.
