//! The master key from a passphrase, under the packaged unit: the service manager asks for it.

use crate::rig::Machine;
use crate::rig::WELCOME;
use crate::rig::wait;

const EXAMPLE: &str = include_str!("../../systemd/examples/passphrase.conf");
const WORDS: &str = "correct horse battery";

/// Answers the question that is open, if there is one that was not answered, as an agent does.
const ANSWER: &str = r#"
    cd /run/systemd/ask-password || exit 1
    for ask in ask.*; do
        [ -e "$ask" ] && grep -q "$1" "$ask" || exit 1
        socket=$(sed -n 's/^Socket=//p' "$ask")
        printf '%s' "$2" | /lib/systemd/systemd-reply-password 1 "$socket"
    done
"#;

fn answered(machine: &Machine, question: &str) {
    wait(60, question, || {
        machine.run(&["sh", "-c", ANSWER, "agent", question, WORDS]).status == Some(0)
    });
}

#[test]
fn the_service_manager_asks_for_the_passphrase_at_each_start() {
    let config = format!("[vault]\nmaster_key = \"passphrase\"\n{WELCOME}");
    let machine = Machine::installed(&config);
    // As it is, a service with a user of its own may not ask, and says so.
    machine.run(&["systemctl", "start", "keyward"]);
    wait(30, "the reason", || machine.journal().contains("nobody could be asked"));
    machine.must(&["systemctl", "stop", "keyward"]);

    machine.drop_in("passphrase", EXAMPLE);
    machine.must(&["systemctl", "start", "--no-block", "keyward"]);
    answered(&machine, "a new passphrase");
    answered(&machine, "the same again");
    wait(60, "an answer over HTTPS", || machine.get("https://localhost/") == Ok("200".to_owned()));
    machine.must(&["systemctl", "stop", "keyward.service"]);

    machine.must(&["systemctl", "start", "--no-block", "keyward"]);
    answered(&machine, "the passphrase of the master key");
    wait(60, "an answer over HTTPS", || machine.get("https://localhost/") == Ok("200".to_owned()));
    assert!(!machine.journal().contains(WORDS), "it is a secret");
}
