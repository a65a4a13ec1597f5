//! What a preset says where the file says nothing: files, whose they are, who is told, and where it is
//! seen.
//!
//! As Debian's packages have it, and tried with them: each of these programs shows another certificate
//! after it was told so. Deliberately absent: their own configuration, in which the paths have to stand.

use super::super::raw_target::RawTarget;
use super::super::raw_target::RawWords;
use super::TargetPreset;

/// The habits of a program.
struct Habits {
    /// As whom it reads its files again, where that is not root: whoever writes them gives them to this
    /// group.
    group: Option<&'static str>,
    told: Told,
    /// Where it shows its certificate on this machine. None for web servers: keyward may be the one
    /// that answers there, with the very certificate that is looked for.
    probe: Option<&'static str>,
}

/// How it is told.
enum Told {
    Unit(&'static str),
    Program(&'static [&'static str]),
}

const fn habits(preset: TargetPreset) -> Habits {
    use Told::Program;
    use Told::Unit;
    match preset {
        TargetPreset::Nginx => Habits { group: None, told: Unit("nginx"), probe: None },
        TargetPreset::Apache => Habits { group: None, told: Unit("apache2"), probe: None },
        // Its unit only passes on that it is to be reloaded, and does not wait or say how it went.
        TargetPreset::Postfix => Habits {
            group: None,
            told: Program(&["/usr/sbin/postfix", "reload"]),
            probe: Some("smtp://localhost:25"),
        },
        TargetPreset::Dovecot => {
            Habits { group: None, told: Unit("dovecot"), probe: Some("imap://localhost:143") }
        }
        // It takes a key that its group may read when root owns it (`ssl_key_file` in "Secure TCP/IP
        // Connections with SSL" of its documentation).
        TargetPreset::Postgresql => Habits {
            group: Some("postgres"),
            told: Unit("postgresql"),
            probe: Some("postgres://localhost:5432"),
        },
        // Its unit knows no reload, and a restart would be one of the database.
        TargetPreset::Mariadb => Habits {
            group: Some("mysql"),
            told: Program(&["/usr/bin/mariadb-admin", "flush-ssl"]),
            probe: Some("mysql://localhost:3306"),
        },
        // Without a restart it takes a connection of which nobody but the operator knows the password.
        TargetPreset::Redis => Habits {
            group: Some("redis"),
            told: Unit("redis-server"),
            probe: Some("tls://localhost:6379"),
        },
        // It begins as root, and is another when it reads them again.
        TargetPreset::Mosquitto => Habits {
            group: Some("mosquitto"),
            told: Unit("mosquitto"),
            probe: Some("tls://localhost:8883"),
        },
        TargetPreset::Prosody => Habits {
            group: Some("prosody"),
            told: Unit("prosody"),
            probe: Some("xmpp://localhost:5222"),
        },
    }
}

/// Fills in what is the habit of the program, and leaves what the file says.
pub(in super::super) fn fill(preset: TargetPreset, raw: &RawTarget) -> RawTarget {
    let Habits { group, told, probe } = habits(preset);
    let mut filled = raw.clone();
    let files = &mut filled.files;
    let key = match &files.key {
        Some(RawWords::One(text)) => Some(text.as_str()),
        _ => None,
    };
    let named = [files.chain.as_deref(), key, files.combined.as_deref(), files.pkcs12.as_deref()];
    let named = || named.into_iter().flatten().filter(|text| !text.is_empty());
    let (nothing, relative) = (named().count() == 0, named().any(|text| !text.starts_with('/')));
    if files.dir.is_none() && nothing && preset == TargetPreset::Prosody {
        // Where it looks for the certificate of each of its names by itself.
        files.chain = Some("/etc/prosody/certs/{name}.crt".to_owned());
        files.key = Some(RawWords::One("/etc/prosody/certs/{name}.key".to_owned()));
    } else if files.dir.is_none() && (nothing || relative) {
        files.dir = Some(format!("/etc/ssl/keyward/{}/{{name}}", preset.word()));
    }
    if files.group.is_none() && files.owner.is_none() && files.mode.is_none() {
        files.group = group.map(str::to_owned);
        files.mode = Some(if group.is_some() { "0640" } else { "0600" }.to_owned());
    }
    if files.reload.is_none() {
        files.reload = Some(match told {
            Told::Unit(unit) => RawWords::One(format!("unit:{unit}.service")),
            Told::Program(words) => {
                RawWords::Several(words.iter().map(|word| (*word).to_owned()).collect())
            }
        });
    }
    if filled.probe.is_none() {
        filled.probe = probe.map(str::to_owned);
    }
    filled
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Reload;
    use super::super::Target;
    use super::super::TargetKind;
    use super::*;
    use crate::config::parse;

    fn read(text: &str) -> Result<Target, String> {
        let text = format!("[[target]]\nname = \"a\"\n{text}\n");
        let parsed = parse(&text, Path::new("keyward.toml"), [("", ""); 0]);
        let parsed = parsed.map_err(|problems| format!("{problems:?}"))?;
        Ok(parsed.config.targets.first().unwrap().clone())
    }

    fn files(target: &Target) -> &super::super::FileTarget {
        match &target.kind {
            TargetKind::Files(files) => files,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_line_is_enough_but_for_web_servers() {
        for preset in TargetPreset::ALL {
            let word = preset.word();
            let web = matches!(preset, TargetPreset::Nginx | TargetPreset::Apache);
            let alone = read(&format!("kind = \"{word}\""));
            assert_eq!(alone.is_err(), web, "{word}: {alone:?}");
            if let Err(error) = alone {
                // Of the probe alone.
                assert!(error.contains("nothing says where this target shows"), "{word}: {error}");
            }
            let probe = if web { "probe = \"https://a.example:8443\"" } else { "" };
            let target = read(&format!("kind = \"{word}\"\n{probe}")).unwrap();
            let (files, probe) = (files(&target), target.probe.as_ref().unwrap());
            assert_eq!(web, probe.host != "localhost");
            let mode = if files.group.is_some() { 0o640 } else { 0o600 };
            assert_eq!((files.mode, files.owner.as_ref()), (Some(mode), None), "{word}");
            let expected = match preset {
                TargetPreset::Prosody => "/etc/prosody/certs/{name}.crt".into(),
                _ => format!("/etc/ssl/keyward/{word}/{{name}}/fullchain.pem"),
            };
            let dir = files.dir.clone().unwrap_or_default();
            assert_eq!(dir.join(files.chain.as_ref().unwrap()), Path::new(&expected));
            assert!(files.key.is_some() && files.reload.is_some(), "{word}");
        }
    }

    #[test]
    fn what_the_file_says_counts() {
        let target = read(
            "kind = \"postgresql\"\ndir = \"/srv/tls\"\nowner = \"pg\"\nmode = \"0600\"\n\
             reload = \"signal:HUP:/run/pg.pid\"\nprobe = \"postgres://db.example:6432\"",
        );
        let target = target.unwrap();
        let files = files(&target);
        assert_eq!(files.dir.as_deref(), Some(Path::new("/srv/tls")));
        assert_eq!((files.group.as_ref(), files.mode), (None, Some(0o600)));
        assert!(matches!(&files.reload, Some(Reload::Signal(..))));
        assert_eq!(target.probe.unwrap().to_string(), "postgres://db.example:6432");
        // With another owner than root PostgreSQL refuses a key that a group may read.
        let target = read("kind = \"postgresql\"\nowner = \"pg\"").unwrap();
        let TargetKind::Files(files) = &target.kind else { panic!("{target:?}") };
        assert_eq!((files.group.as_ref(), files.mode), (None, None));
        let target = read("kind = \"prosody\"\ncombined = \"both.pem\"").unwrap();
        let TargetKind::Files(files) = &target.kind else { panic!("{target:?}") };
        assert_eq!(files.dir.as_deref(), Some(Path::new("/etc/ssl/keyward/prosody/{name}")));
        assert_eq!(files.chain, None);
    }
}
