//! Sockets that keep message borders, and descriptors that travel over them.
//!
//! Frames are exchanged over `SOCK_SEQPACKET` pairs: one send is one receive, so there is no
//! length to believe. What the frames mean is not known here.
#![expect(unsafe_code, reason = "received descriptors are taken over, inherited ones closed")]

use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::ControlMessageOwned;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::Shutdown;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::time::TimeVal;
use nix::sys::time::TimeValLike;

/// The kernel takes at most this many descriptors with one message (`SCM_MAX_FD`).
pub const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// A frame with the descriptors that came along.
#[derive(Debug)]
pub struct Received {
    /// Length of the frame as it was sent; more than the buffer holds when it was cut.
    pub len: usize,
    /// Taken over, in the order in which they were sent, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Two connected sockets that keep message borders, closed on exec.
///
/// # Errors
/// When the process has no descriptors left.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = nix::sys::socket::socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    Ok(pair)
}

/// Sends one frame. Never raises `SIGPIPE`.
///
/// # Errors
/// `EPIPE` or `ECONNRESET` when the peer is gone, `EAGAIN` after the socket's deadline.
pub fn send(socket: BorrowedFd<'_>, frame: &[u8]) -> io::Result<()> {
    loop {
        match nix::sys::socket::send(socket.as_raw_fd(), frame, MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            // A message socket takes the frame whole or not at all.
            Ok(_) => return Ok(()),
        }
    }
}

/// Receives one frame into `buffer`; 0 when the peer is gone.
///
/// Returns the length as it was sent, which is more than `buffer` holds when it was cut.
/// Descriptors that came along are discarded by the kernel.
///
/// # Errors
/// `ECONNRESET` when the peer died with frames unread, `EAGAIN` after the socket's deadline.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::sys::socket::recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Looks at the first octets of a stream without taking them; 0 when the peer is gone.
///
/// # Errors
/// `EAGAIN` when there are none yet, on a socket that does not wait.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::sys::socket::recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_PEEK) {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Sends one frame with descriptors.
///
/// # Errors
/// As [`send`].
pub fn send_with(
    socket: BorrowedFd<'_>,
    frame: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let parts = [IoSlice::new(frame)];
    loop {
        match nix::sys::socket::sendmsg::<()>(
            socket.as_raw_fd(),
            &parts,
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// Receives one frame and the descriptors that came with it.
///
/// # Errors
/// As [`receive`]; `ENOBUFS` when descriptors were lost.
pub fn receive_with(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_PER_MESSAGE]);
    let flags = MsgFlags::MSG_TRUNC.union(MsgFlags::MSG_CMSG_CLOEXEC);
    let mut parts = [IoSliceMut::new(buffer)];
    loop {
        let message = match nix::sys::socket::recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            flags,
        ) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let mut descriptors = Vec::new();
        for part in message.cmsgs()? {
            let ControlMessageOwned::ScmRights(raw) = part else { continue };
            for descriptor in raw {
                // SAFETY: the kernel has just made this descriptor for this process with the
                // message, and nothing else knows its number.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
        return Ok(Received { len: message.bytes, descriptors });
    }
}

/// How long a receive and a send on `socket` may take before they fail with `EAGAIN`.
///
/// # Errors
/// When `socket` is no socket.
pub fn set_deadline(socket: BorrowedFd<'_>, deadline: Duration) -> io::Result<()> {
    let millis = i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX);
    let value = TimeVal::milliseconds(millis);
    nix::sys::socket::setsockopt(&socket, ReceiveTimeout, &value)?;
    nix::sys::socket::setsockopt(&socket, SendTimeout, &value)?;
    Ok(())
}

/// Ends the conversation for every holder of `socket`, whichever copy of the descriptor it has.
pub fn hang_up(socket: BorrowedFd<'_>) {
    // The only failure is that it is hung up already.
    let _already = nix::sys::socket::shutdown(socket.as_raw_fd(), Shutdown::Both);
}

/// Waits until the peer of `socket` is gone, whatever frames lie unread.
///
/// # Errors
/// Whatever `poll` says.
pub fn wait_hung_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        // Without any event asked for, only a hang-up or an error ends the wait.
        let mut polled = [PollFd::new(socket, PollFlags::empty())];
        match nix::poll::poll(&mut polled, PollTimeout::NONE) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether the peer of `socket` is gone, whatever frames lie unread.
pub fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    matches!(nix::poll::poll(&mut polled, PollTimeout::ZERO), Ok(1..))
}

/// Moves standard input out of the way: returns it under another number and puts `/dev/null` in
/// its place and in that of standard output.
///
/// # Errors
/// When standard input is closed or `/dev/null` cannot be opened.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(taken)
}

/// Points standard error at `/dev/null`.
///
/// # Errors
/// When `/dev/null` cannot be opened.
pub fn silence_stderr() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Closes every descriptor above standard error except `kept`.
///
/// To be called before anything else is opened: whoever owns a closed descriptor would go on
/// using its number.
///
/// # Errors
/// When the kernel is older than 5.9.
pub fn close_all_but(kept: &OwnedFd) -> io::Result<()> {
    let kept = libc::c_uint::try_from(kept.as_raw_fd()).unwrap_or(libc::c_uint::MAX);
    let ranges = [(3, kept.saturating_sub(1)), (kept.saturating_add(1), libc::c_uint::MAX)];
    for (first, last) in ranges {
        if first > last {
            continue;
        }
        // SAFETY: the call takes numbers only; the caller vouches that nothing owns them.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;

    use super::*;

    #[test]
    fn frames_keep_their_borders_and_say_when_they_were_cut() {
        let (left, right) = seqpacket_pair().unwrap();
        send(left.as_fd(), b"one").unwrap();
        send(left.as_fd(), b"three").unwrap();
        let mut buffer = [0; 4];
        assert_eq!(receive(right.as_fd(), &mut buffer).unwrap(), 3);
        assert_eq!(receive(right.as_fd(), &mut buffer).unwrap(), 5);
        drop(left);
        assert_eq!(receive(right.as_fd(), &mut buffer).unwrap(), 0);
    }

    #[test]
    fn descriptors_travel_and_work_at_the_other_end() {
        let (left, right) = seqpacket_pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send_with(left.as_fd(), b"pipe", &[writer.as_fd()]).unwrap();
        drop(writer);
        let mut buffer = [0; 16];
        let received = receive_with(right.as_fd(), &mut buffer).unwrap();
        assert_eq!((received.len, received.descriptors.len()), (4, 1));
        let descriptor = received.descriptors.into_iter().next().unwrap();
        std::fs::File::from(descriptor).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_receive_ends_at_its_deadline() {
        let (left, _right) = seqpacket_pair().unwrap();
        set_deadline(left.as_fd(), Duration::from_millis(20)).unwrap();
        let error = receive(left.as_fd(), &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
