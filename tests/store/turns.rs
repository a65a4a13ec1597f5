//! Whose turn it is among what clients asked for.

use keyward::cert::allowance::Class;
use keyward::cert::lifecycle::Phase;
use keyward::cert::spec::CertificateId;
use keyward::store::Store;

use crate::books::DAY;
use crate::books::START;
use crate::books::client;
use crate::books::wanted;

#[tokio::test]
async fn whoever_asks_for_many_does_not_keep_others_from_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.set_free(Class::ALL.map(|class| (class, 1000)), START).await.unwrap();
    let [many, few, one] = ["many", "few", "one"].map(client);
    let order = |number, whose, at| wanted(number, (whose, Class::Single), START.plus(DAY * at));
    let first: Vec<_> = (0..100).map(|number| order(number, &many, 0)).collect();
    store.add_all(first, vec![], vec![]).await.unwrap();
    for (number, whose) in [(200, &few), (201, &few), (300, &one)] {
        store.add(order(number, whose, 1), vec![]).await.unwrap();
    }
    // What wakes by its time has its place between them.
    let mut renewed = order(400, &one, 0);
    renewed.phase = Phase::Retiring { until: START };
    renewed.care.issue = None;
    store.add(renewed.clone(), vec![]).await.unwrap();
    let now = START.plus(DAY * 2);
    let (due, next) = store.due(now, 256).await.unwrap();
    assert_eq!(due[1], renewed.id());
    assert_eq!(next, Some(now), "there are more");
    let ask = |id: &CertificateId| {
        let (store, id) = (store.clone(), *id);
        async move {
            let record = store.certificate(id).await.unwrap().unwrap();
            record.care.issue.map(|issue| issue.client.to_string())
        }
    };
    let mut clients = Vec::new();
    for id in &due {
        clients.extend(ask(id).await);
    }
    assert_eq!(clients[..6], ["many", "few", "one", "many", "few", "many"]);
    // However far ahead of its time it was asked for: it is its turn that counts.
    assert_eq!(store.due(START, 256).await.unwrap().0.len(), due.len());
    // What is at work, or over, waits for no turn.
    for id in &due {
        let mut record = store.certificate(*id).await.unwrap().unwrap();
        if record.care.issue.is_some() {
            let deadline = START.plus(DAY * 9);
            record.phase = Phase::Ordering { attempt: 0, in_flight: None, deadline };
            store.update(record, vec![]).await.unwrap();
        }
    }
    let (later, _) = store.due(now, 256).await.unwrap();
    assert!(later.iter().all(|id| *id == renewed.id() || !due.contains(id)), "{later:?}");
}
