//! A clock that is wrong.

use super::*;

#[tokio::test]
async fn a_clock_far_behind_the_store_orders_nothing_until_it_is_right() {
    let house = House::new(one_site(), Act::Issue).await;
    let record = house.settled("holding").await;
    house.clock.set(START.minus(DAY * 365));
    let house = house.restart(Act::Issue).await;
    let more = config(vec![site(&["a.example"], acme()), site(&["b.example"], acme())]);
    house.config.send_replace(Arc::new(more));
    house.look().await;
    assert_eq!(house.ca.asked.lock().unwrap().len(), 0);
    house.clock.set(START);
    house.look().await;
    for _ in 0..500 {
        if house.asked_for_primary() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.asked_for_primary(), 1);
    // And a person may vouch for a clock that looks wrong.
    house.clock.set(START.minus(DAY * 365));
    let house = house.restart(Act::Issue).await;
    house.look().await;
    house.handle.renew(record.id()).await.unwrap();
    for _ in 0..500 {
        if house.asked_for_primary() > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody was asked");
}
