//! The chain up to the root that is preferred, where the CA offers several.

use keyward::cert::chain::Chain;

use crate::doubles::Steps;
use crate::rig::Rig;
use crate::rig::assert_good;
use crate::rig::obtain;
use crate::rig::verify;

/// The common name of the first certificate in `pem`.
fn common_name(pem: &str) -> String {
    use x509_parser::prelude::FromDer as _;
    let chain = Chain::from_pem(pem.as_bytes()).unwrap();
    let (_, one) =
        x509_parser::prelude::X509Certificate::from_der(&chain.certificates()[0]).unwrap();
    one.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_up_to_the_preferred_root_is_taken_and_else_the_default() {
    let mut rig = Rig::with(|settings| settings.alternate_roots = 3);
    for root in [2, 1, 3] {
        let preferred = rig.pebble.alternate_root(root);
        rig.config.preferred_chain = Some(common_name(&preferred));
        let job = rig.job(&["shop.example"]);
        let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
        verify(&preferred, &issued, job.spec.names());
        assert_eq!(issued.chain.leaf().unwrap().key, job.key.id);
    }
    // The default one, asked for by name, and where nobody has the name.
    for name in [common_name(&rig.pebble.root()), "No Such Root".to_owned()] {
        rig.config.preferred_chain = Some(name);
        let job = rig.job(&["shop.example"]);
        let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
        assert_good(&rig, &job, &issued);
    }
}
