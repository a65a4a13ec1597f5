//! Keys that were made here: they stay, unless the file says beforehand that they may leave.

use std::fs;
use std::time::Duration;

use keyward::cert::chain::Chain;
use keyward::vault::key_file::KeyFile;

use crate::daemon::Keyward;
use crate::daemon::eventually;
use crate::origin::Origin;

const NAME: &str = "mail.internal";

/// A recipient whose identity nobody has.
const ANYBODY: &str = "age1kf4mdwkvk7na2hjkzx3p6zkym7wu6sgz9u5k6fnh7zeudlqjxu5sm7j6y7";

#[test]
fn a_key_that_was_made_here_leaves_only_if_the_file_said_so_when_it_was_made() {
    let origin = Origin::start();
    let site = format!("[[site]]\nnames = [\"{NAME}\"]\norigin = \"http://{}\"\n", origin.address);
    let mut keyward = Keyward::new("", &site);
    keyward.start();
    let served = || keyward.served_serial(NAME);
    let first = eventually("the site is served", Duration::from_secs(20), served);
    let (key, chain) = (keyward.dir.path().join("out.key"), keyward.dir.path().join("out.crt"));
    let export = || {
        let [to, chain] = [&key, &chain].map(|path| path.to_str().unwrap());
        keyward.cli(&["export", NAME, "--to", to, "--chain", chain])
    };
    let refused = |said: crate::daemon::Said| {
        assert!(!said.status.success() && said.err.contains("exportable = true"), "{said:?}");
        assert!(!key.exists() && !chain.exists(), "nothing is left behind");
        let (status, said) =
            keyward.api(&format!("/certificates/{NAME}/key?recipient={ANYBODY}"), &[]);
        assert!(status == 400 && said.contains("not exportable"), "{status} {said}");
    };
    refused(export());

    // The present key was sealed to stay, whatever the file says now.
    keyward.edit("names = [", "exportable = true\nnames = [");
    keyward.cli(&["reload"]).ok();
    refused(export());
    keyward.cli(&["rotate", "keys", NAME, "--now"]).ok();
    eventually("it has another certificate", Duration::from_secs(20), || {
        served().filter(|serial| *serial != first)
    });
    export().ok();
    let file = KeyFile::from_pem(&fs::read(&key).unwrap()).unwrap();
    let leaf = Chain::from_pem(&fs::read(&chain).unwrap()).unwrap().leaf().unwrap();
    assert_eq!(file.id, leaf.key, "the key is that of the certificate");
    assert_eq!(Some(leaf.serial), served());
    assert!(keyward.cli(&["events"]).ok().contains("is given the private key"));
}
