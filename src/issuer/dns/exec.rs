//! A program of the operator's that sets and removes records, by the protocol of lego's provider
//! `exec`.
//!
//! By default it is called with `present` or `cleanup`, the record's full name with a dot at its end,
//! and the value; in the mode `raw` with `--`, the name, the token and the key authorization. It gets
//! a clean environment, and neither the state directory nor the master key can be reached by it.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::secret::Known;
use crate::cert::zone::ZoneChange;
use crate::cert::zone::ZoneRecord;

/// How long it may run.
const PATIENCE: Duration = Duration::from_secs(90);

/// Octets of what it says that are kept for a message.
const SAID: u64 = 2048;

/// Where it finds other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn change(
    known: &Known,
    what: ZoneChange,
    record: &ZoneRecord,
) -> Result<(), String> {
    let word = match what {
        ZoneChange::Set => "present",
        ZoneChange::Remove => "cleanup",
    };
    let program = known.need("program")?;
    let mut command = Command::new(program);
    command.arg(word);
    if known.may("mode") == Some("raw") {
        command.args(["--", &record.name, &record.token, &record.key_authorization]);
    } else {
        command.arg(format!("{}.", record.record)).arg(&record.value);
    }
    let (mut reader, writer) = said().map_err(|error| format!("no pipe: {error}"))?;
    let errors = writer.try_clone().map_err(|error| format!("no pipe: {error}"))?;
    let child = command
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::from(errors))
        .spawn();
    let mut child = child.map_err(|error| format!("{program} cannot be started: {error}"))?;
    drop(command);
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut text = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, async {
        let read = async {
            let _cut = (&mut reader).take(SAID).read_to_end(&mut text).await;
            // Whatever else it says is thrown away, so that it is not held up.
            let _rest = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
        };
        tokio::join!(child.wait(), read).0
    })
    .await;
    let reason = match ended {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => {
            if let Some(group) = group {
                // With whatever it has started.
                let _ended = nix::sys::signal::killpg(group, Signal::SIGKILL);
            }
            format!("no end within {} seconds", PATIENCE.as_secs())
        }
    };
    let text = String::from_utf8_lossy(&text);
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let said = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = said.replace(&record.key_authorization, "...").replace(&record.token, "...");
    Err(format!("{program}: {reason}: {said}"))
}

/// A pipe for what it says, on either of its outputs.
fn said() -> std::io::Result<(tokio::net::unix::pipe::Receiver, std::os::fd::OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    let reader = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())?;
    Ok((reader, writer.into()))
}
