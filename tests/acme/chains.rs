//! The chain up to the root that is preferred, where the CA offers several.

use keyward::cert::chain::Chain;
use keyward::cert::ports::Job;

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
        assert_eq!(issued.chain.leaf().unwrap().key, job.key.id());
    }
    // The default one, asked for by name, and where nobody has the name.
    for name in [common_name(&rig.pebble.root()), "No Such Root".to_owned()] {
        rig.config.preferred_chain = Some(name);
        let job = rig.job(&["shop.example"]);
        let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
        assert_good(&rig, &job, &issued);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_site_says_of_the_root_counts_more_than_what_stands_with_the_ca() {
    let mut rig = Rig::with(|settings| settings.alternate_roots = 2);
    let roots = [1, 2].map(|number| rig.pebble.alternate_root(number));
    rig.config.preferred_chain = Some(common_name(&roots[0]));
    for (said, root) in [(None, &roots[0]), (Some(common_name(&roots[1])), &roots[1])] {
        let job = Job { preferred_chain: said, ..rig.job(&["shop.example"]) };
        let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
        verify(root, &issued, job.spec.names());
    }
}
