//! The socket over which a private key comes to a hand: one end only writes, the other only reads.
//!
//! It is no pipe. Whoever holds the end of a pipe that is for writing can open the same pipe for reading,
//! through `/proc/self/fd`, and no wall of the file system stands in the way. A socket cannot be opened
//! anew, and what is written into one end comes out of the other alone. So main, through which the end
//! for writing passes on its way to the vault, can spoil what comes, and not read it.

use std::io::Read as _;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use zeroize::Zeroizing;

use super::deadline::Deadline;
use crate::base::bounds;

/// The end at which the key comes out.
#[derive(Debug)]
pub(super) struct Mailbox(UnixStream);

impl Mailbox {
    /// A new one, and the end into which the key is to be written.
    pub(super) fn new() -> std::io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        // Nothing goes the other way.
        ours.shutdown(Shutdown::Write)?;
        Ok((Self(ours), theirs.into()))
    }

    /// All that is written, once the other end is closed by all who have it.
    pub(super) fn receive(mut self, deadline: Deadline) -> Result<Zeroizing<Vec<u8>>, String> {
        // Room for all of it at once: a growing vector would leave copies behind.
        let mut text = Zeroizing::new(vec![0; bounds::hand::KEY]);
        let mut length = 0;
        loop {
            let left = deadline.left();
            if left.is_zero() {
                return Err("the private key did not come in time".to_owned());
            }
            let timeout = self.0.set_read_timeout(Some(left));
            timeout.map_err(|error| format!("the private key cannot be received: {error}"))?;
            match self.0.read(text.get_mut(length..).unwrap_or_default()) {
                Ok(0) if length == bounds::hand::KEY => {
                    return Err("what came is far too long for a private key".to_owned());
                }
                Ok(0) => break,
                Ok(count) => length = length.saturating_add(count),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("the private key cannot be received: {error}")),
            }
        }
        text.truncate(length);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::fd::AsFd;
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use super::*;

    fn soon() -> Deadline {
        Deadline::within(Duration::from_secs(20))
    }

    /// Opens what the descriptor leads to once more, for reading.
    fn again(end: &impl AsFd) -> std::io::Result<File> {
        File::open(format!("/proc/self/fd/{}", end.as_fd().as_raw_fd()))
    }

    #[test]
    fn what_is_written_comes_out_at_the_other_end_and_at_no_other() {
        let (mailbox, end) = Mailbox::new().unwrap();
        let mut writer = File::from(end);
        writer.write_all(b"the key").unwrap();
        let error = again(&writer).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "{error}");
        let mut octet = [0];
        assert_eq!((&writer).read(&mut octet).unwrap(), 0, "its own end gives nothing");
        drop(writer);
        assert_eq!(**mailbox.receive(soon()).unwrap(), *b"the key");
        // This is why it is no pipe.
        let (_reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"the key").unwrap();
        let mut stolen = [0; 7];
        again(&writer).unwrap().read_exact(&mut stolen).unwrap();
        assert_eq!(&stolen, b"the key");
    }

    #[test]
    fn it_neither_waits_nor_grows_for_ever() {
        let (mailbox, end) = Mailbox::new().unwrap();
        let error = mailbox.receive(Deadline::within(Duration::from_millis(50))).unwrap_err();
        assert_eq!(error, "the private key did not come in time");
        drop(end);
        let (mailbox, end) = Mailbox::new().unwrap();
        let writing = std::thread::spawn(move || {
            // More than is taken; the other end is closed by then.
            let _refused = File::from(end).write_all(&vec![b'x'; 4 * bounds::hand::KEY]);
        });
        let error = mailbox.receive(soon()).unwrap_err();
        assert_eq!(error, "what came is far too long for a private key");
        writing.join().unwrap();
    }
}
