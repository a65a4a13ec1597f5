//! Descriptors that come over the admin socket: the one thing that HTTP cannot carry.
//!
//! A connection that begins with [`HANDOVER`] is one message: these octets and an order in JSON,
//! with one descriptor along. It is answered in one line of JSON. The descriptor is handed on and
//! never read, and one that could be read back is refused: so what the vault writes into it
//! passes nobody but its receiver.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::MetadataExt as _;

use http::StatusCode;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use tokio::io::AsyncWriteExt as _;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::access::Peer;
use super::caller::Caller;
use super::gate;
use super::routes::Desk;
use super::select::Selector;
use super::shares::Hold;
use super::shares::UsedUp;
use super::ways::Need;
use super::ways::Open;
use super::wire::Problem;
use super::wire::transfer::HANDOVER;
use super::wire::transfer::HANDOVER_ORDER;
use super::wire::transfer::Handover;
use super::wire::transfer::HandoverOrder;
use crate::base::bounds;
use crate::cert::rights::Scope;
use crate::os::descriptors;

/// Whether the peer is about to hand something over. Waits for its first octet.
pub(super) async fn begins(stream: &UnixStream) -> bool {
    let looked = async {
        loop {
            stream.readable().await?;
            let mut first = [0; 1];
            let look = || descriptors::peek(stream.as_fd(), &mut first);
            match stream.try_io(Interest::READABLE, look) {
                Ok(len) => return Ok::<_, io::Error>(len == 1 && first[0] == HANDOVER[0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    // A peer that says nothing in time is left to the server of HTTP, which tells it so.
    matches!(tokio::time::timeout(bounds::ADMIN_HEAD_DEADLINE, looked).await, Ok(Ok(true)))
}

/// Takes the order and the descriptor, has it done, and answers.
pub(super) async fn serve(
    mut stream: UnixStream,
    caller: Caller,
    share: Result<Hold, UsedUp>,
    desk: &Desk,
) {
    let peer = caller.peer;
    let work = async {
        let done = match (share, take(&stream)) {
            (Ok(_held), Ok((order, target))) => carry_out(order, target, caller, desk).await,
            (Ok(_), Err(problem)) => Err(problem),
            (Err(used_up), _) => Err(gate::used_up(&used_up)),
        };
        let answer = match done {
            Ok(answer) => answer,
            Err(problem) => Handover::Problem(problem),
        };
        // A structure of strings and numbers always serialises.
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        stream.write_all(&line).await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(bounds::ADMIN_REQUEST_DEADLINE, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(reason = %error, peer.uid, "a handover broke off"),
        Err(_) => tracing::warn!(peer.uid, "a handover was not done in time"),
    }
}

async fn carry_out(
    order: HandoverOrder,
    target: OwnedFd,
    caller: Caller,
    desk: &Desk,
) -> Result<Handover, Problem> {
    let peer = caller.peer;
    need(&order).admits(&caller)?;
    match order {
        HandoverOrder::Export { certificate } => {
            check(&target, peer).map_err(|why| {
                refused(format!("the key is not written there: {why}"))
                    .hint("keyward export opens the target as it must be")
            })?;
            let selector = Selector::parse(&certificate)?;
            let exported = desk.house.export(&selector, target, caller).await?;
            Ok(Handover::Exported(Box::new(exported)))
        }
        HandoverOrder::Backup => {
            check(&target, peer).and_then(|()| is_file(&target)).map_err(|why| {
                refused(format!("the database is not copied there: {why}"))
                    .hint("keyward backup opens the target as it must be")
            })?;
            Ok(Handover::BackedUp(desk.house.backup(target, caller).await?))
        }
    }
}

/// What an order needs of who gives it, as the table of routes says it of the others.
const fn need(order: &HandoverOrder) -> Need {
    match order {
        HandoverOrder::Export { .. } => Need { open: Open::Owners, scope: Scope::Deploy },
        HandoverOrder::Backup => Need { open: Open::Operators, scope: Scope::Operate },
    }
}

fn take(stream: &UnixStream) -> Result<(HandoverOrder, OwnedFd), Problem> {
    let broken = |why: &str| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-handover", "this is no handover").detail(why)
    };
    let mut frame = [0; HANDOVER.len() + HANDOVER_ORDER + 1];
    // One send of the peer is one receive here, as long as it is this short.
    let receive = || descriptors::receive_with(stream.as_fd(), &mut frame);
    let received = stream.try_io(Interest::READABLE, receive);
    let received = received.map_err(|error| broken(&error.to_string()))?;
    let bytes = frame.get(..received.len).filter(|bytes| bytes.len() < frame.len());
    let order = bytes.and_then(|bytes| bytes.strip_prefix(&HANDOVER));
    let order = order.ok_or_else(|| broken("another version, or too long"))?;
    let order = serde_json::from_slice(order).map_err(|error| broken(&error.to_string()))?;
    let mut descriptors = received.descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(one), None) => Ok((order, one)),
        _ => Err(broken("expected one descriptor along with the order")),
    }
}

/// Whether a key may be written into `target` for `peer`: where only its owner will read it, and
/// where this process cannot, and without waiting for anybody.
fn check(target: &OwnedFd, peer: Peer) -> Result<(), String> {
    let told = |errno: nix::Error| errno.to_string();
    let flags =
        OFlag::from_bits_truncate(nix::fcntl::fcntl(target, FcntlArg::F_GETFL).map_err(told)?);
    if flags.intersection(OFlag::O_ACCMODE) != OFlag::O_WRONLY || flags.contains(OFlag::O_PATH) {
        return Err("it is not open for writing alone".to_owned());
    }
    let file = std::fs::File::from(target.try_clone().map_err(|error| error.to_string())?);
    let found = file.metadata().map_err(|error| error.to_string())?;
    if found.file_type().is_fifo() {
        // The vault must not wait for a reader.
        let with = FcntlArg::F_SETFL(flags.union(OFlag::O_NONBLOCK));
        return nix::fcntl::fcntl(target, with).map(drop).map_err(told);
    }
    if !found.is_file() {
        return Err("it is neither a file nor a pipe".to_owned());
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!(
            "others than its owner may read it (mode {:03o})",
            found.mode() & 0o777
        ));
    }
    if found.uid() != peer.uid && peer.uid != 0 {
        return Err(format!("it belongs to user {}, not to user {}", found.uid(), peer.uid));
    }
    if found.len() != 0 || found.nlink() > 1 {
        return Err("it is not empty, or has several names".to_owned());
    }
    Ok(())
}

/// A pipe would hold up the store for as long as its reader likes.
fn is_file(target: &OwnedFd) -> Result<(), String> {
    let file = std::fs::File::from(target.try_clone().map_err(|error| error.to_string())?);
    let found = file.metadata().map_err(|error| error.to_string())?;
    if found.is_file() { Ok(()) } else { Err("it is no file".to_owned()) }
}

fn refused(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "refused", "this cannot be done").detail(detail)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    #[test]
    fn a_target_is_taken_only_if_its_owner_alone_can_read_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let uid = nix::unistd::Uid::effective().as_raw();
        let peer = Peer { uid, gid: 0, pid: None };
        let open = |name: &str, mode: u32, read: bool| -> OwnedFd {
            let mut options = OpenOptions::new();
            options.read(read).write(true).create_new(true).mode(mode);
            options.open(dir.path().join(name)).unwrap().into()
        };
        assert_eq!(check(&open("good", 0o600, false), peer), Ok(()));
        let refused = |target: OwnedFd| check(&target, peer).unwrap_err();
        assert!(refused(open("group", 0o640, false)).contains("mode 640"));
        assert!(refused(open("both", 0o600, true)).contains("writing alone"));
        std::fs::write(dir.path().join("full"), "something").unwrap();
        std::fs::set_permissions(
            dir.path().join("full"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        let full = OpenOptions::new().write(true).open(dir.path().join("full")).unwrap();
        assert!(refused(full.into()).contains("not empty"));
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert!(refused(null.into()).contains("neither"));
        assert!(refused(File::open(dir.path()).unwrap().into()).contains("writing alone"));
        let stranger = Peer { uid: 4_000_001, ..peer };
        assert!(check(&open("mine", 0o600, false), stranger).unwrap_err().contains("belongs"));
        let (_reader, writer) = io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        assert_eq!(check(&writer, peer), Ok(()));
        let flags = nix::fcntl::fcntl(&writer, FcntlArg::F_GETFL).unwrap();
        assert!(OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK));
    }
}
