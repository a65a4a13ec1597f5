//! What two ends of a relay see of each other.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_end_is_passed_on_and_leaves_the_other_direction_as_it_is() {
    let (mut client, mut ours) = duplex(64);
    let (mut theirs, mut server) = duplex(64);
    let relaying = relay(&mut ours, &mut theirs, b"first ".to_vec(), LONG);
    let talking = async {
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        server.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        // Much more than fits at once, while nobody takes it.
        let answer = "a".repeat(300_000);
        let writing = async {
            server.write_all(answer.as_bytes()).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let mut got = String::new();
        let (_, read) = tokio::join!(writing, client.read_to_string(&mut got));
        read.unwrap();
        assert_eq!(got, format!("first {answer}"));
    };
    let (passed, ()) = tokio::join!(relaying, talking);
    assert_eq!(passed, Passed { from_client: 8, to_client: 300_006, end: End::Whole });
}

#[tokio::test]
async fn silence_ends_it_and_a_word_from_either_side_puts_that_off() {
    let idle = Duration::from_millis(400);
    let (mut client, mut ours) = duplex(64);
    let (mut theirs, mut server) = duplex(64);
    let begun = Instant::now();
    let talking = async {
        for _ in 0..2 {
            tokio::time::sleep(idle / 2).await;
            client.write_all(b"x").await.unwrap();
            tokio::time::sleep(idle / 2).await;
            server.write_all(b"y").await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let passed = tokio::select! {
        passed = relay(&mut ours, &mut theirs, Vec::new(), idle) => passed,
        () = talking => unreachable!(),
    };
    assert_eq!(passed, Passed { from_client: 2, to_client: 2, end: End::Silent });
    assert!(begun.elapsed() >= idle * 3, "{:?}", begun.elapsed());
}
