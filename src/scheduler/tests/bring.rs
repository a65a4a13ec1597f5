//! Certificates that are brought: stored whole, published, succeeded in place, never ordered.

use rcgen::PublicKeyData as _;

use super::*;
use crate::base::bounds::catalog::COPY_PAUSE;
use crate::cert::brought::Brought;
use crate::cert::care::Accept;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::key::SealedKey;
use crate::cert::record::Installed;
use crate::cert::spec::CertificateId;
use crate::scheduler::ForgetError;
use crate::scheduler::RenewError;

impl House {
    /// Brings a certificate for `names` that lasts `days`; its name and its key's.
    async fn bring(&self, names: &[&str], days: u64) -> (CertificateId, KeyId) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let at = |moment: Timestamp| {
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.as_unix())
        };
        params.not_before = at(self.now());
        params.not_after = at(self.now().plus(DAY * u32::try_from(days).unwrap()));
        let pair = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&pair).unwrap().pem();
        let spki: Arc<[u8]> = pair.subject_public_key_info().into();
        let key = KeyHandle {
            id: KeyId::of_spki(&spki),
            algorithm: KeyAlgorithm::P256,
            usage: KeyUsage::Tls,
            spki,
            sealed: SealedKey(Arc::from([1, 2, 3])),
        };
        let brought = Brought::examine(pem.as_bytes(), key.id, self.now(), false).unwrap();
        let spec = brought.specification();
        let installed = Installed::read(brought.chain, self.now()).unwrap();
        let (id, name) = (spec.id(), key.id);
        self.handle.bring(spec, key, installed, "user 0").await.unwrap();
        (id, name)
    }

    fn shown(&self, id: CertificateId) -> Option<KeyId> {
        self.catalog.get(id).unwrap().map(|one| one.key.id)
    }
}

#[tokio::test]
async fn what_is_brought_is_stored_and_shown_and_its_successor_takes_its_place() {
    let house = House::new(config(Vec::new()), Act::Issue).await;
    let (id, first) = house.bring(&["a.example", "b.example"], 90).await;
    assert_eq!(house.shown(id), Some(first));
    let stored = house.store.certificate(id).await.unwrap().unwrap();
    assert_eq!((stored.phase.word(), stored.installed.unwrap().key), ("holding", first));
    let (again, second) = house.bring(&["b.example", "a.example"], 180).await;
    assert_eq!((again, house.shown(id)), (id, Some(second)));
    assert_eq!(house.store.key(first).await.unwrap(), None, "nobody needs its key any more");
    assert!(house.store.key(second).await.unwrap().is_some());
    assert_eq!(house.told(EntryKind::Imported).await, 2);
    // A restart knows it, and a configuration without it does not retire it.
    let house = house.restart(Act::Issue).await;
    house.pass(DAY * 8).await;
    assert_eq!(house.shown(id), Some(second));
    assert_eq!(house.handle.certificate(id).await.unwrap().unwrap().phase.word(), "holding");
    assert!(house.ca.asked.lock().unwrap().is_empty(), "nobody is asked for it");
}

#[tokio::test]
async fn when_its_time_comes_the_owner_is_told_once_and_it_stays_shown() {
    let house = House::new(config(Vec::new()), Act::Issue).await;
    let (id, key) = house.bring(&["a.example"], 90).await;
    house.pass(DAY * 66).await;
    let record = house.handle.certificate(id).await.unwrap().unwrap();
    let Phase::Halted { failure, .. } = &record.phase else { panic!("{:?}", record.phase) };
    assert_eq!(failure.kind, FailureKind::Imported);
    assert!(failure.kind.hint().contains("keyward import"));
    house.pass(DAY).await;
    assert_eq!(house.told(EntryKind::Halted).await, 1);
    assert_eq!(house.told(EntryKind::Ordering).await, 0);
    assert_eq!(house.shown(id), Some(key), "invariant 1");
    let refused = house.handle.renew(id).await.unwrap_err();
    assert!(matches!(refused, RenewError::Imported(_)), "{refused}");
    // The successor is held anew, and nobody is needed any more.
    let (_, second) = house.bring(&["a.example"], 90).await;
    assert_eq!(house.handle.certificate(id).await.unwrap().unwrap().phase.word(), "holding");
    assert_eq!(house.shown(id), Some(second));
}

#[tokio::test]
async fn what_is_forgotten_is_gone_with_its_key_and_a_sites_own_cannot_be() {
    let house = House::new(one_site(), Act::Issue).await;
    let own = house.settled("holding").await;
    let (id, key) = house.bring(&["a.example"], 90).await;
    let refused = house.handle.forget(own.id(), "user 0").await.unwrap_err();
    assert!(matches!(refused, ForgetError::NotImported(_)), "{refused}");
    house.handle.forget(id, "user 0").await.unwrap();
    assert_eq!(house.shown(id), None);
    assert_eq!(house.store.certificate(id).await.unwrap(), None);
    assert_eq!(house.store.key(key).await.unwrap(), None);
    let refused = house.handle.forget(id, "user 0").await.unwrap_err();
    assert!(matches!(refused, ForgetError::NotFound(_)), "{refused}");
    assert!(house.shown(own.id()).is_some());
    // It may be brought again.
    house.bring(&["a.example"], 90).await;
    assert!(house.shown(id).is_some());
}

#[tokio::test]
async fn a_site_that_waits_for_its_ca_needs_no_bridge_beside_what_was_brought() {
    let house = House::new(config(Vec::new()), Act::Hang).await;
    house.bring(&["a.example"], 90).await;
    house.config.send_replace(Arc::new(one_site()));
    house.settled("ordering").await;
    let roles: Vec<_> = house.handle.driven().iter().map(|r| r.spec.role).collect();
    assert_eq!(roles, [Role::Primary]);
}

#[tokio::test]
async fn who_brings_does_not_wait_for_the_second_copy_which_follows() {
    let house = House::new(config(Vec::new()), Act::Issue).await;
    let (mut ahead, mut brought) = (0, Vec::new());
    for number in 0..12 {
        let (id, key) = house.bring(&[&format!("n{number}.example")], 90).await;
        assert_eq!(house.shown(id), Some(key), "shown before the copy has it");
        assert!(house.store.certificate(id).await.unwrap().is_some());
        ahead += usize::from(!house.catalog.is_flushed());
        brought.push((id, key));
    }
    // One falls together with the write of the one before, or into the pause after it.
    assert!(ahead > 0, "each waited");
    let patience = COPY_PAUSE * 40;
    let followed = async {
        while !house.catalog.is_flushed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, followed).await.expect("the copy follows");
    for (id, key) in brought {
        assert_eq!(house.shown(id), Some(key));
    }
}

#[tokio::test]
async fn what_follows_an_imported_one_comes_from_the_next_ca_where_its_site_names_several() {
    let other = || IssuerName::Acme("https://other.example/dir".to_owned());
    for hosted in [false, true] {
        let mut site = site(&["a.example"], IssuerName::Imported);
        site.further = vec![acme(), other()];
        let mut config = config(vec![site]);
        config.cas = vec![crate::config::Acme {
            name: "other".to_owned(),
            directory: "https://other.example/dir".to_owned(),
            profile: Some("of-the-other".to_owned()),
            ..config.acme.clone()
        }];
        let house = House::new(config, Act::Issue).await;
        let (id, _) = house.bring(&["a.example"], 90).await;
        let ill = Failure::new(FailureKind::CaFault, "503");
        *house.ca.behaviour.lock().unwrap() = Arc::new(move |job| match &job.spec.issuer {
            IssuerName::Acme(directory) if directory == CA => Act::Fail(ill.clone()),
            _ => Act::Issue,
        });
        if hosted {
            // Its like is asked of one CA alone, whatever becomes of that.
            house.handle.host(id, Accept::default(), &acme(), "somebody").await.unwrap();
        }
        house.pass(DAY * 70).await;
        let mut record = house.store.certificate(id).await.unwrap().unwrap();
        for _ in 0..60 {
            if *record.issued_by() == other() {
                break;
            }
            house.pass(DAY / 4).await;
            record = house.store.certificate(id).await.unwrap().unwrap();
        }
        let asked: Vec<_> =
            house.ca.asked.lock().unwrap().iter().map(|a| a.job.spec.clone()).collect();
        let of = |issuer: &IssuerName| asked.iter().filter(|spec| spec.issuer == *issuer).count();
        assert!(of(&acme()) >= 3, "{asked:?}");
        if hosted {
            assert_eq!(of(&other()), 0);
            assert!(record.care.hosting.accept().is_some(), "and hosting does not end for that");
            continue;
        }
        assert_eq!((record.issued_by(), record.first_issuer()), (&other(), &acme()));
        assert_eq!(record.phase.word(), "holding");
        let last = asked.iter().rfind(|spec| spec.issuer == other()).unwrap();
        assert_eq!(last.profile.as_deref(), Some("of-the-other"));
        assert_eq!(house.told(EntryKind::IssuerLeft).await, 1);
    }
}
