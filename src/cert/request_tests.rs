//! Requests as openssl writes them, and what of each is refused: every row is one thing wrong with an
//! otherwise good one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::PublicKeyData as _;
use rcgen::SanType;

use super::*;

fn openssl(text: &str) -> Result<ClientRequest, RequestError> {
    ClientRequest::read(&STANDARD.decode(text).unwrap())
}

fn made(names: &[&str], adapt: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    adapt(&mut params);
    (params.serialize_request(&key).unwrap().der().to_vec(), key)
}

fn read(
    names: &[&str],
    adapt: impl FnOnce(&mut CertificateParams),
) -> Result<ClientRequest, RequestError> {
    ClientRequest::read(&made(names, adapt).0)
}

fn armoured(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn a_request_is_read_in_der_and_in_pem_with_its_names_and_its_key() {
    let (der, key) = made(&["b.example", "*.a.example", "b.example", "192.0.2.7"], |_| {});
    let request = ClientRequest::read(&der).unwrap();
    let names: Vec<_> = request.names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["b.example", "*.a.example", "192.0.2.7"]);
    let spki = key.subject_public_key_info();
    assert_eq!((request.key(), &request.spki()[..]), (KeyId::of_spki(&spki), &spki[..]));
    assert_eq!((request.algorithm(), request.der()), (KeyAlgorithm::P256, &der[..]));
    let pem = format!("What follows is a request.\n{}", armoured(&der));
    assert_eq!(ClientRequest::read(pem.as_bytes()), Ok(request));
    let rsa = openssl(RSA_2048).unwrap();
    assert_eq!((rsa.algorithm(), rsa.names().len()), (KeyAlgorithm::Rsa2048, 1));
}

#[test]
fn the_common_name_counts_for_nothing_and_must_be_one_of_the_names() {
    let named = |name: &'static str| {
        move |params: &mut CertificateParams| {
            params.distinguished_name.push(DnType::CommonName, name)
        }
    };
    assert_eq!(read(&["a.example"], named("A.example")).unwrap().names().len(), 1);
    assert!(read(&["a.example"], named("")).is_ok());
    let refused = read(&["a.example"], named("b.example")).unwrap_err();
    assert_eq!(refused, RequestError::CommonName("b.example".to_owned()));
    assert_eq!(openssl(NAME_ALONE), Err(RequestError::NoNames));
}

#[test]
fn keys_that_no_ca_signs_for_or_that_can_be_broken_are_refused_by_what_they_are() {
    assert!(matches!(openssl(RSA_1024), Err(RequestError::Weak(what)) if what.contains("1024")));
    assert!(matches!(openssl(P_521), Err(RequestError::Kind(what)) if what.contains("curve")));
    assert!(matches!(openssl(ED_25519), Err(RequestError::Kind(_))));
    assert_eq!(openssl(SHA_1), Err(RequestError::Digest));
    let modulus: Vec<u8> = COMPUTABLE
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert!(rsa::weakness(&modulus).unwrap().contains("ROCA"));
    // The next odd number is of no such family, or has a small factor.
    let mut next = modulus.clone();
    *next.last_mut().unwrap() ^= 0b10;
    assert!(!rsa::weakness(&next).is_some_and(|what| what.contains("ROCA")));
    assert!(rsa::weakness(&[0x01, 0x01, 0x01]).unwrap().contains("small factor"));
}

#[test]
fn what_only_cas_get_is_refused_and_what_servers_ask_for_is_not() {
    let usual = read(&["a.example"], |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert!(usual.is_ok(), "{usual:?}");
    type Adapt = fn(&mut CertificateParams);
    let cases: [Adapt; 4] = [
        |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign],
        |params| params.key_usages = vec![KeyUsagePurpose::CrlSign],
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning],
    ];
    for (number, adapt) in cases.into_iter().enumerate() {
        let refused = read(&["a.example"], adapt);
        assert!(matches!(refused, Err(RequestError::Extension(_))), "{number}: {refused:?}");
    }
}

#[test]
fn every_name_must_be_one_of_a_host_and_there_are_not_too_many() {
    let with = |san: SanType| read(&["a.example"], |params| params.subject_alt_names.push(san));
    let mail = with(SanType::Rfc822Name("me@a.example".try_into().unwrap()));
    assert_eq!(mail, Err(RequestError::OtherName("an e-mail address")));
    let place = with(SanType::URI("https://a.example/".try_into().unwrap()));
    assert_eq!(place, Err(RequestError::OtherName("a URI")));
    for text in ["intranet", "a..example", "*.*.example", "192.0.2.7"] {
        let refused = with(SanType::DnsName(text.try_into().unwrap()));
        assert!(matches!(refused, Err(RequestError::Name { .. })), "{text}: {refused:?}");
    }
    assert_eq!(read(&[], |_| {}), Err(RequestError::NoNames));
    let many: Vec<String> = (0..=100).map(|number| format!("n{number}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(read(&many, |_| {}), Err(RequestError::TooManyNames { count: 101 }));
    assert!(read(&many[1..], |_| {}).is_ok());
}

#[test]
fn what_is_no_request_is_refused_by_what_it_is() {
    let (der, _) = made(&["a.example"], |_| {});
    let refused = |file: &[u8]| ClientRequest::read(file).unwrap_err();
    assert_eq!(refused(b""), RequestError::NoSection);
    assert_eq!(
        refused(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        RequestError::NoSection
    );
    assert!(matches!(refused(armoured(&der).replace('\n', "").as_bytes()), RequestError::Pem(_)));
    let twice = armoured(&der).repeat(2);
    assert_eq!(refused(twice.as_bytes()), RequestError::Several);
    assert_eq!(refused(&vec![0x30; bounds::orders::REQUEST + 1]), RequestError::Long);
    assert_eq!(refused(&vec![b'-'; bounds::orders::REQUEST + 1]), RequestError::Long);
    let longer = [&der[..], b"\0"].concat();
    assert!(matches!(refused(&longer), RequestError::Parse(what) if what.contains("follow")));
    // Another's key in it: nobody gets a certificate for a key that is not his.
    let (other, _) = made(&["a.example"], |_| {});
    let start = der.windows(2).position(|two| two == [0x03, 0x42]).unwrap();
    let mut stolen = der.clone();
    stolen[start..start + 68].copy_from_slice(&other[start..start + 68]);
    assert_eq!(refused(&stolen), RequestError::Signature);
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let der = STANDARD.decode(RSA_2048).unwrap();
    for at in 0..der.len() {
        for bit in 0..8_u32 {
            let mut flipped = der.clone();
            flipped[at] ^= 1 << bit;
            assert!(ClientRequest::read(&flipped).is_err(), "bit {bit} of octet {at}");
        }
        assert!(ClientRequest::read(&der[..at]).is_err(), "{at} octets");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(junk in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(ClientRequest::read(&junk).is_err());
        prop_assert!(ClientRequest::from_der(&[&[0x30, 0x82][..], &junk].concat()).is_err());
    }
}

// A modulus of 2048 bits of the family that is known as ROCA; nobody's key.
const COMPUTABLE: &str = "\
    896bc4efc639bec8cd20f5e28f38de378450a44efb342bbc7d0f18ee0e6cad5fa29a26d9130f50b493e1196a\
    c287d50784090533b433f3282525e58cb36440c7fd695a718dd5d2148b2531e9aa8bc90b2993e96ea33922a5\
    d7a7a9c598901011be4ae18d01ba06372a1b1ff53e7c9e97bcc1362abbbf28acd919e62e83dfd6797388af2f\
    0c203f8c8087ed64574566b39ace6b5e7f19e67a1f51bbce6ab09eb0b606a9ca2b462cacc9b5bbb201cc6f9f\
    1e059c1eb7529c96823f6a71652ebd47a8567370a15acf39954c5908492b6b887610e54eaebad9fce840e22f\
    fe4f9617921299cf3fa43712eb3b6184a986e3196082a99f855c22b2360623762d2a249f";

const RSA_2048: &str = "\
    MIICbjCCAVYCAQAwADCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL6h63BmX27qoA8WHCt+xZiu2irj\
    zU8jfjnEw+LPq2P7//3PZTGBFAYonjRUy4uzVIKZ91w0q3Wo/KOd+FIeOa9Dlngxzva9bMSugPpfSteKFJmQG+P2\
    zoaxheIKb30E8tFS6tEyB+6IJSQjzefL8+I1oARYsAvELgVbNG9dqsqvwRZwiK+FEnX4r69sWahNLFPuc+N41I+F\
    N/b2/Kr+C6fHOAbINra5U1WoKY/g0MlVE7LaIk+hX1VEzB0mV7B0j2+h606F5R047EtwiAjLVzjnkE1gLiJtcEaa\
    4KyTPIEazxaeMD/0eAkw4qmgKyQeAR6HNCpTWHKNsJvyngCE7JsCAwEAAaApMCcGCSqGSIb3DQEJDjEaMBgwFgYD\
    VR0RBA8wDYILcnNhLmV4YW1wbGUwDQYJKoZIhvcNAQELBQADggEBAK4it++bxMvEkEexGBxl7Qiw5fzjRh8FW9et\
    CyB89vlUCj+cxHM61jvJiNhiJ9i7FWV4sZ3+RGxay2qTMTIyC+LdD+SFUcBBgODjJXxBQsLi6cNe7y1LrGujts7q\
    pltsLiBSrVcqA0bC5K+bQ09hRnDLoTpyHPgpBuwTbR9kaNiqkslg6WQewShuiejLjvDT+kQmLtPScZyHajuYFHqw\
    FiiC4SNEUFtZJ200WLACOeXkC/hG6Npg7etT4ft2d40OyL3DoRZpgdtu0ezTGbt/v5ySgwjEiCUMhNK/IYGwW/na\
    W1fQ6gQxSKbdX/QLGmgm348R/zQJboTlEAGbeb4W1OE=";

const RSA_1024: &str = "\
    MIIBaDCB0gIBADAAMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDOtcm/5eZVMVe9nFOdbT48xB8kwCWSs+K3\
    qLVSYuCAYUSckv2cCNHLHtgDoXPZ1unS4BGwbWHRUkCnNbem4MAC/wX9vx8ZcDUUMFyGXNYjB7xz1gChbofsnDk6\
    QKIT2c8qW+oL58P7hekjvRHPZFOr99uAtNpzERAaU6ov9im++QIDAQABoCkwJwYJKoZIhvcNAQkOMRowGDAWBgNV\
    HREEDzANggtyc2EuZXhhbXBsZTANBgkqhkiG9w0BAQsFAAOBgQAbznYlZSwsWt/V7CkzfFUSbc92q3GQ4sfYTCTF\
    lpqUixDMpo633hwE+38rwOqqVkTbB2f/86mfJ8Ldr94Gn/d1qBL9+eObhbVbIhrr21G6WVJZpTC9ki8WnMRYCsIQ\
    NoVvKMioyIoHSEn/rC7e6p6PGAfx/jcsDD3x8LN6Rp3ZKQ==";

const P_521: &str = "\
    MIIBbDCBzwIBADAAMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBATPys9nh69XrQ3HcY/fJbthDuYjvGLphxkQU\
    HVEUOceIFmuA489e6lAI5HOn6/C9Ny3fNBWnAtn06Sy9MibzeKEAMWmngkFNXy5tkJ2B3QwS5zVbQXucG0YUryaB\
    NEQC1uBBc8pYlkTCQ9ZtALP39BWLPJBgTIi1iHju3jJu4PeS//igKjAoBgkqhkiG9w0BCQ4xGzAZMBcGA1UdEQQQ\
    MA6CDHA1MjEuZXhhbXBsZTAKBggqhkjOPQQDAgOBiwAwgYcCQgHY5HA4ePOjiuW8u9MHfxVu3C+XY6wdDN/6Ay5H\
    6m9oqqCPwCJpE47/vw96gwp3IqMyo5/3JX6ExWcaQyXtbiqT/gJBKdV76mGlMqwhn2b1ApzTucW3vMV/ueyEXYU5\
    qDVfA7Imc6TA/ur4XHzMi/m7pL2/jMaDUCPiutqq2MPd8q9rbxs=";

const ED_25519: &str = "\
    MIGnMFsCAQAwADAqMAUGAytlcAMhAOcg+oCSuUUq0vCO6Fxlj45XusPUjwCxMgC2xeBzOsZ5oCgwJgYJKoZIhvcN\
    AQkOMRkwFzAVBgNVHREEDjAMggplZC5leGFtcGxlMAUGAytlcANBAD6xQQM/l35N48jpJApwiJzqGjShaFvpb56m\
    25trSlBFwBurTGmOgok2+8Qo70eVKZdq71qpPmOw+zFHNoGhMQ4=";

const SHA_1: &str = "\
    MIICbzCCAVcCAQAwADCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAMyBo8OiHkmvufPlG5LOcR+4niRH\
    69HCfo8GRvA+u1np3BpwLiZPuMio+IIz0CKTJbREalgCKwM42iTui40sCF/UE816GaTZ6M8opq2SorL95IWI9Dp6\
    Tu3+REcv+lHQQ3Pic052k9hQUJ81jMMtjPuwEh+p8K8OmQEUsQM9m45m9qzOhwrrNvrc1FTC0/Fpja40/BcX9fos\
    /+UVDycJbBp3r34ZS8ixmeMneGHJCMenYG5m9vk1KIlDnPZCQh5EPD75fv2szCuDFZZbGntPgYCAQKtblswylCWh\
    /1WgmRV2YLFHnr8M1C7Huevx83pbUWCXAVdOnkd6NV3pct/vgBsCAwEAAaAqMCgGCSqGSIb3DQEJDjEbMBkwFwYD\
    VR0RBBAwDoIMc2hhMS5leGFtcGxlMA0GCSqGSIb3DQEBBQUAA4IBAQBAV3bh8eiUTvsvDA/bt9O/DrXAKL8uYkkP\
    X4m8f6rSdrLFWSk+hxFORF9QwcrrUFdJ/gysnrMMzWhXohKmSq8AWSU+LA+ppFMhS28cMJBxHCcH/FsiZB/Vn5HV\
    +PR4G925REUnzQHc/hwKeK0bb/rjxu1wwqEB42+oyvbPnyQjNctdI8yOTNJeRI34QuhXXKR6ojGauiTdxPYDmp7v\
    Ef/FfIpGiaACrVFrvBpQAnLitjVOUELpw8mbfychqg8poP4jeKEpc6mcRt87YxDqMAzMh1VMBoa1lRitb2K7cUu3\
    PF0i2J2HZcdru21TpwIOComL054PCZugfSAFYdyMWUlU";

const NAME_ALONE: &str = "\
    MIHQMHkCAQAwFzEVMBMGA1UEAwwMb25seS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbEa3pL0o\
    4nhgk4yDTbdq1JguZyaYqy5NfuH6lRRSKiyhGVYYOf9EpOsC7NYZCHaSIYJlsnihaFAzBk825sippKAAMAoGCCqG\
    SM49BAMCA0cAMEQCIGDiKNknyFnvJfP++ojrhAlaYefbDch7NSp11JUs4/n2AiB0Rmkq7gGEbqAqPnomm+jy3j37\
    rcFCkErIKyVCDV9hVg==";
