//! Certificates sent compressed to clients that offer to take them so (RFC 8879).
//!
//! Keeps nothing: what was compressed stays with the certificate, in rustls' cache of one
//! configuration, so that this is asked once for each certificate and algorithm.

use std::io::Write as _;

use rustls::CertificateCompressionAlgorithm;
use rustls::compress::CertCompressor;
use rustls::compress::CompressionCache;
use rustls::compress::CompressionFailed;
use rustls::compress::CompressionLevel;
use zlib_rs::{DeflateConfig, ReturnCode, compress_bound, compress_slice};

use crate::base::bounds::BROTLI_QUALITY;
use crate::base::bounds::BROTLI_WINDOW;
use crate::base::bounds::ZLIB_LEVEL;

/// The best first: where a client takes several, the first one here is used. Chromium takes
/// brotli, Safari zlib, Firefox both.
const COMPRESSORS: [&dyn CertCompressor; 2] = [&Brotli, &Zlib];

/// How certificates are compressed.
pub(super) fn compressors() -> Vec<&'static dyn CertCompressor> {
    COMPRESSORS.to_vec()
}

/// Room for one certificate in each compressed form.
pub(super) fn cache() -> CompressionCache {
    CompressionCache::new(COMPRESSORS.len())
}

#[derive(Debug)]
struct Brotli;

impl CertCompressor for Brotli {
    /// The level is rustls' guess of how often this happens; the effort here suits the first
    /// handshake of a certificate, which waits for it.
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let output = Vec::with_capacity(input.len());
        let mut writer =
            brotli::CompressorWriter::new(output, input.len(), BROTLI_QUALITY, BROTLI_WINDOW);
        writer.write_all(&input).map_err(|_| CompressionFailed)?;
        smaller(writer.into_inner(), &input)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Brotli
    }
}

#[derive(Debug)]
struct Zlib;

impl CertCompressor for Zlib {
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let mut output = vec![0; compress_bound(input.len())];
        let config = DeflateConfig::new(ZLIB_LEVEL);
        let (filled, code) = compress_slice(&mut output, &input, config);
        if code != ReturnCode::Ok {
            return Err(CompressionFailed);
        }
        let length = filled.len();
        output.truncate(length);
        smaller(output, &input)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

/// What did not shrink is sent as it is: rustls does so when a compressor fails.
fn smaller(mut output: Vec<u8>, input: &[u8]) -> Result<Vec<u8>, CompressionFailed> {
    if output.len() >= input.len() {
        return Err(CompressionFailed);
    }
    // It is kept for as long as the certificate.
    output.shrink_to_fit();
    Ok(output)
}
