//! A configuration with targets, the way to hands, and pairs to be carried.

use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use keyward::cert::chain::Chain;
use keyward::cert::deployment::TargetName;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::key::KeyId;
use keyward::cert::key::KeyUsage;
use keyward::cert::key::SealedKey;
use keyward::deploy::hand::Hand;
use keyward::deploy::hand::HandError;
use keyward::deploy::hand::Parcel;
use keyward::deploy::hand::Placed;

use crate::daemon::BINARY;

/// What every pair is for, unless it is said.
pub(crate) const NAME: &str = "mail.example.org";

/// However busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Scene {
    dir: tempfile::TempDir,
    ca: rcgen::Issuer<'static, rcgen::KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Made {
    pub(crate) chain: Chain,
    pub(crate) key: String,
    pub(crate) name: Identifier,
}

impl Made {
    pub(crate) fn chain_pem(&self) -> String {
        self.chain.to_pem()
    }

    pub(crate) fn serial(&self) -> String {
        self.chain.leaf().unwrap().serial
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for part in ["etc", "state", "out", "log"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
        Self { dir, ca }
    }

    /// A path in the scene's own directory, without a link on the way.
    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(part)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("etc/keyward.toml")
    }

    /// Writes the configuration with this target in it, which is called `one`. `OUT` stands for the
    /// directory into which it goes.
    pub(crate) fn target(&self, text: &str) {
        let text = text.replace("OUT", self.path("out").to_str().unwrap());
        let text = format!(
            "[state]\ndir = \"{}\"\n[[target]]\nname = \"one\"\n{text}\n",
            self.path("state").display()
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn hand(&self) -> Hand {
        let nowhere = self.path("nowhere.sock");
        Hand::start_from(Path::new(BINARY), &self.config(), &nowhere).unwrap()
    }

    pub(crate) fn issuer(&self) -> &rcgen::Issuer<'static, rcgen::KeyPair> {
        &self.ca
    }

    pub(crate) fn pair(&self) -> Made {
        self.pair_for(NAME)
    }

    pub(crate) fn pair_for(&self, name: &str) -> Made {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.ca).unwrap();
        let chain = Chain::from_pem(leaf.pem().as_bytes()).unwrap();
        Made { chain, key: key.serialize_pem(), name: Identifier::parse(name).unwrap() }
    }

    /// Has the pair brought to the target.
    pub(crate) fn carry(&self, made: &Made) -> Result<Placed, HandError> {
        carry(&self.hand(), made)
    }

    /// The same, and judged to be good.
    pub(crate) fn bring(&self, made: &Made) {
        self.carry(made).unwrap().keep().unwrap();
    }

    /// Everything below `out`, sorted: what is a link says where it leads to.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut all = Vec::new();
        let out = self.path("out");
        list(&out, &out, &mut all);
        all.sort();
        all
    }

    pub(crate) fn text(&self, part: &str) -> String {
        let path = self.path("out").join(part);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn mode(&self, part: &str) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(self.path("out").join(part)).unwrap().permissions().mode() & 0o7777
    }
}

fn list(root: &Path, place: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_symlink() {
            all.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else if path.is_dir() {
            list(root, &path, all);
        } else {
            all.push(name);
        }
    }
}

pub(crate) fn carry(hand: &Hand, made: &Made) -> Result<Placed, HandError> {
    carry_named(hand, made, &made.name, PATIENCE)
}

pub(crate) fn carry_named(
    hand: &Hand,
    made: &Made,
    name: &Identifier,
    deadline: Duration,
) -> Result<Placed, HandError> {
    let target = TargetName::parse("one").unwrap();
    let key = KeyHandle {
        id: KeyId([0; 32]),
        algorithm: KeyAlgorithm::P256,
        usage: KeyUsage::ExportableTls,
        spki: Vec::new().into(),
        sealed: SealedKey(Vec::new().into()),
    };
    let parcel = Parcel { target: &target, name, chain: &made.chain, key: &key };
    hand.carry_with(parcel, deadline, |end| {
        // A hand that was killed does not take it.
        let _gone = File::from(end).write_all(made.key.as_bytes());
        Ok(())
    })
}
