//! Certificates that are sent compressed: to whom, how much smaller, and that they are the same.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use rustls::CertificateCompressionAlgorithm::{self, Brotli, Zlib};
use rustls::ClientConfig;
use rustls::compress::{CertDecompressor, DecompressionFailed};
use rustls_pki_types::CertificateDer;

use crate::house::{House, limits, site};
use crate::load;
use crate::origin::Origin;

/// Takes certificates in one form, and notes how long they were: compressed and not.
#[derive(Debug)]
struct Taker {
    algorithm: CertificateCompressionAlgorithm,
    taken: Mutex<Vec<(usize, usize)>>,
}

impl Taker {
    fn new(algorithm: CertificateCompressionAlgorithm) -> &'static Self {
        Box::leak(Box::new(Self { algorithm, taken: Mutex::default() }))
    }

    fn taken(&self) -> Vec<(usize, usize)> {
        self.taken.lock().unwrap().clone()
    }
}

impl CertDecompressor for Taker {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        self.taken.lock().unwrap().push((input.len(), output.len()));
        if self.algorithm == Brotli {
            let mut reader = brotli::Decompressor::new(input, 4096);
            return reader.read_exact(output).map_err(|_| DecompressionFailed);
        }
        let config = zlib_rs::InflateConfig::default();
        match zlib_rs::decompress_slice(output, input, config) {
            (_, zlib_rs::ReturnCode::Ok) => Ok(()),
            _ => Err(DecompressionFailed),
        }
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        self.algorithm
    }
}

fn client(house: &House, takers: &[&'static Taker]) -> ClientConfig {
    let mut config = (*load::client_config(&house.ca.root(), &[])).clone();
    config.cert_decompressors =
        takers.iter().map(|taker| *taker as &'static dyn CertDecompressor).collect();
    // Each connection is to see the certificate.
    config.resumption = rustls::client::Resumption::disabled();
    config
}

/// The chain that a client with this configuration is shown, by the kind of handshake it makes.
async fn chain(house: &House, config: ClientConfig) -> Vec<CertificateDer<'static>> {
    let stream = load::connect(&Arc::new(config), house.https, "site0.example").await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap().to_vec()
}

#[tokio::test]
async fn who_takes_compressed_certificates_gets_the_same_ones_smaller() {
    let origin = Origin::start();
    let names: Vec<String> = (0..40).map(|number| format!("site{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let house = House::open(vec![site(&names, origin.address)], limits());
    let plain = chain(&house, client(&house, &[])).await;
    for algorithm in [Brotli, Zlib] {
        let taker = Taker::new(algorithm);
        for round in 1..=3 {
            assert_eq!(chain(&house, client(&house, &[taker])).await, plain, "{algorithm:?}");
            assert_eq!(taker.taken().len(), round, "{algorithm:?} was not used");
        }
        let taken = taker.taken();
        let (compressed, whole) = taken[0];
        assert!(compressed * 10 < whole * 7, "{algorithm:?}: {compressed} of {whole} octets");
        assert!(taken.iter().all(|one| *one == taken[0]), "{taken:?}");
    }
    // Who takes both gets the shorter form, whatever the order of the offer.
    let (brotli, zlib) = (Taker::new(Brotli), Taker::new(Zlib));
    assert_eq!(chain(&house, client(&house, &[zlib, brotli])).await, plain);
    assert_eq!((brotli.taken().len(), zlib.taken().len()), (1, 0));
}

#[tokio::test]
async fn tls_1_2_and_unknown_forms_get_the_certificate_as_it_is() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["site0.example"], origin.address)], limits());
    let plain = chain(&house, client(&house, &[])).await;
    let zstd = Taker::new(CertificateCompressionAlgorithm::Zstd);
    assert_eq!(chain(&house, client(&house, &[zstd])).await, plain);
    assert!(zstd.taken().is_empty());
    let brotli = Taker::new(Brotli);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.ca.root()).unwrap();
    let mut old = ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    old.cert_decompressors = vec![brotli];
    assert_eq!(chain(&house, old).await, plain);
    assert!(brotli.taken().is_empty());
}
