//! Limits of the access log.

use std::time::Duration;

/// Octets that a worker gathers before it hands them on: some eighty lines for one wake-up of the
/// thread that writes.
pub const ACCESS_PAGE: usize = 16 * 1024;

/// Pages that wait to be written, from all workers: 4 MiB, a second of twenty thousand requests. What
/// comes when they are full is lost, and counted.
pub const ACCESS_PAGES: usize = 256;

/// How long a line may lie in a page that does not fill up: short for whoever watches the file.
pub const ACCESS_LINGER: Duration = Duration::from_millis(200);

/// Octets of one value in a line, before it is escaped: an address of this length is an attack or a
/// form, and its beginning says which.
pub const ACCESS_VALUE: usize = 2048;

/// Between two tries to open a log that could not be opened, and between two complaints of it.
pub const ACCESS_RETRY: Duration = Duration::from_secs(5);

/// How long the journal may take for one line. The thread that writes waits, nobody else.
pub const ACCESS_JOURNAL: Duration = Duration::from_secs(1);

/// How long the end of the house waits for the last lines.
pub const ACCESS_LAST: Duration = Duration::from_secs(2);

/// Octets of a request id of a client's that is kept.
pub const REQUEST_ID: usize = 128;
