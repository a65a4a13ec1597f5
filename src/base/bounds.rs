//! Every limit of the house by name, with its reason.
//!
//! What an operator may change stands in the configuration; what is here keeps the house itself
//! from growing without bound, and nobody needs to change it.

use std::time::Duration;

pub mod access;
pub mod accounts;
pub mod admin;
pub mod allowance;
pub mod backup;
pub mod brought;
pub mod catalog;
pub mod choice;
pub mod client;
pub mod deployment;
pub mod dns;
pub mod doctor;
pub mod gate;
pub mod hand;
pub mod heap;
pub mod master;
pub mod news;
pub mod onboarding;
pub mod orders;
pub mod origins;
pub mod policy;
pub mod proxied;
pub mod quic;
pub mod takeover;
pub mod tcp;
pub mod visitors;

/// Requests waiting for the store's thread. Each is one transaction of about a millisecond, so a
/// full queue is a quarter of a second of work: more would hide an overloaded disk.
pub const STORE_QUEUE: usize = 256;

/// Newest entries of the journal kept in the store; older ones are dropped as new ones arrive.
pub const JOURNAL_ENTRIES: usize = 10_000;

/// Orders that run at the same time. Let's Encrypt admits 300 new orders in three hours.
pub const ORDERS_AT_ONCE: usize = 8;

/// How long one order may take before its lease lapses and it is asked again.
pub const ORDER_LEASE: Duration = Duration::from_secs(300);

/// The longest sleep at a stretch, so that a stepped clock is noticed.
pub const SLEEP_STRETCH: Duration = Duration::from_secs(30);

/// Largest frame between main and the vault: what an account sends to a CA to end an order, with a
/// CSR of 16 KiB in it, which is for a hundred long names.
pub const VAULT_FRAME: usize = 30 * 1024;

/// A signature is due within this time; the handshake fails otherwise.
pub const VAULT_SIGN_DEADLINE: Duration = Duration::from_secs(2);

/// Largest body accepted on the admin socket.
pub const ADMIN_BODY: usize = 1024 * 1024;

/// Connections to the admin socket that are served at the same time.
pub const ADMIN_CONNECTIONS: usize = 64;

/// Largest configuration file: ten thousand sites of some hundred bytes fit many times.
pub const CONFIG_BYTES: u64 = 64 * 1024 * 1024;

/// Largest answer read from a CA: a chain of a few certificates is about 8 KiB.
pub const CA_ANSWER: usize = 1024 * 1024;

/// To connect to the CA's host, over all of its addresses.
pub const CA_CONNECT: Duration = Duration::from_secs(10);

/// One request to the CA and its whole answer. Some CAs sign within the finalize request.
pub const CA_EXCHANGE: Duration = Duration::from_secs(45);

/// How long the CA may take to check the challenges of one order; then the lease goes back and
/// the order is asked again later.
pub const CA_VALIDATION: Duration = Duration::from_secs(120);

/// How long the CA may take to sign once the order is finalised.
pub const CA_SIGNING: Duration = Duration::from_secs(90);

/// Repetitions of one request because of refused nonces, each with three tries of its own: at one
/// nonce in two refused, about one request in 10^9 still fails, and a CA that refuses every nonce is
/// asked thirty times.
pub const NONCE_TRIES: u32 = 10;

/// Characters of a CA's text that are kept in a failure.
pub const FAILURE_TEXT: usize = 400;

/// Pages of an account's list of orders that are read in search of an order whose URL was lost.
pub const ORDER_LIST_PAGES: usize = 64;

/// Orders of that list that are looked at: half of them from either end.
pub const ORDER_LIST_READ: usize = 24;

/// Longest URL of an order or a page that is taken from a list.
pub const ORDER_URL: usize = 2048;

/// The whole search; without a find, a new order is opened.
pub const ORDER_SEARCH: Duration = Duration::from_secs(60);

/// How long a CA's directory is believed; any failure ends it sooner.
pub const DIRECTORY_LIFE: Duration = Duration::from_secs(3600);

/// Names in one certificate; Let's Encrypt's classic profile admits a hundred.
pub const NAMES_PER_CERTIFICATE: usize = 100;

/// How long the material of a site that left the configuration is kept.
pub const RETIREMENT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Memory of the database's page cache: the records of some thousand certificates.
pub const STORE_CACHE: usize = 16 * 1024 * 1024;

/// Records of a store that are all read when it is opened, which takes some tens of milliseconds.
/// A store of more is looked through while the house is at work.
pub const STORE_INSPECTED: u64 = 10_000;

/// Records that are looked at in one step: about a millisecond.
pub const STORE_STEP: usize = 64;

/// Pause between two such steps while the house is at work: two million records take some nine
/// hours, and the disk reads half a MiB in a second.
pub const STORE_SCRUB_PAUSE: Duration = Duration::from_secs(1);

/// Pause before all records are looked at, after the start and after the last look.
pub const STORE_SCRUB_REST: Duration = Duration::from_secs(600);

/// A database of this size notes its free pages at every commit: the repair that it would need
/// after a crash reads the file three times, a second for each some hundred MiB.
pub const STORE_LONG: u64 = 64 * 1024 * 1024;

/// Memory of the second copy's page cache: its upper pages and those of the names asked for last.
pub const CATALOG_CACHE: usize = 32 * 1024 * 1024;

/// Certificates that are read at once while the second copy is made: some MiB, and some twenty
/// milliseconds in which nothing else is read of the store.
pub const CATALOG_PORTION: usize = 1024;

/// As many certificates as are served from memory where the disk has no place for a second copy:
/// some hundred MiB.
pub const CATALOG_IN_MEMORY: u64 = 50_000;

/// Changes that a crash kept from the second copy and that are brought to it one by one, some ten
/// MiB of them; with more it is made anew.
pub const CATALOG_BEHIND: u64 = 4096;

/// How long the start waits for a second copy that is made anew. Some thousand certificates are
/// copied in that time; of more, what is not copied yet is served as soon as it is.
pub const CATALOG_PATIENCE: Duration = Duration::from_millis(500);

/// A wall clock this much behind the newest moment in the store is not believed.
pub const CLOCK_BEHIND: Duration = Duration::from_secs(300);

/// Imported certificates whose owners are told in one transaction that their moment has come: some
/// milliseconds of the store's thread.
pub const WOKEN_AT_ONCE: usize = 256;

/// Questions for renewal information that run at the same time.
pub const CHECKS_AT_ONCE: usize = 8;

/// How long running jobs may still take when the daemon ends.
pub const JOB_GRACE: Duration = Duration::from_secs(5);

/// How long a bridge is kept once the certificate it stood in for is installed.
pub const BRIDGE_RETIREMENT: Duration = Duration::from_secs(3600);

/// Connections to the admin socket that follow the journal; the rest stay free for questions.
pub const ADMIN_FOLLOWERS: usize = 32;

/// For the head of a request on the admin socket, and between two requests.
pub const ADMIN_HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// For one request on the admin socket, its body and its answer. A reload of ten thousand sites
/// takes a few seconds.
pub const ADMIN_REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// For a client of the admin socket to take a part of what it is sent. Longer than the pause
/// between two comments to a follower, so that a terminal held for a moment does not end it.
pub const ADMIN_WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// A comment is sent to a follower of the journal at least this often, so that either side
/// notices when the other is gone.
pub const ADMIN_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Largest head of a request on the admin socket: ours are some hundred bytes.
pub const ADMIN_HEAD: usize = 16 * 1024;

/// Largest answer that a client of the admin socket reads: a hundred thousand certificates.
pub const ADMIN_ANSWER: usize = 256 * 1024 * 1024;
/// Making a key, sealing a secret, or the vault's first answer is due within this time. An
/// RSA-2048 key takes two seconds on a slow core if the primes are found late.
pub const VAULT_WORK_DEADLINE: Duration = Duration::from_secs(10);

/// How long callers wait for the next vault, from when the last one was first missed: after that they
/// are told at once. A new one stands within some ten milliseconds, and within seconds where others
/// have the cores; less than it takes for a worker to count as stuck.
pub const VAULT_FAILOVER: Duration = Duration::from_secs(3);

/// Worker channels of one vault: one for each core, and as many descriptors travel with one
/// message (the kernel's own limit is 253).
pub const VAULT_WORKERS: usize = 128;

/// Reports about the vault that wait to be read. Each is one restart.
pub const VAULT_EVENTS: usize = 64;

/// Least size of the cache of opened keys: some hundred keys, so that a busy site stays open.
pub const VAULT_CACHE_LEAST: u64 = 256 * 1024;

/// Places in the vault's secret memory beyond those of the cache: keys that left it and still
/// sign, one for each thread, and what is derived from the master key.
pub const VAULT_SPARE_PLACES: usize = 2 * VAULT_WORKERS;

/// Sets of a table in which a thread counts by key. With [`TALLY_WAYS`], four thousand keys are
/// counted exactly, in 96 KiB; of more, the busy ones are known.
pub const TALLY_SETS: usize = 512;

/// Places of a set: three cache lines, which is what a count compares at most.
pub const TALLY_WAYS: usize = 8;

/// Counts in one answer of the vault: 24 octets each, and three quarters of a frame.
pub const TALLY_PAGE: usize = 512;

/// Between two looks at what the vault signed.
pub const SIGN_LOOK: Duration = Duration::from_secs(5);

/// Signatures over handshakes that nobody is known to have begun, until there is an alarm. In good
/// order there is none but those of handshakes during which a vault was replaced, one for each of
/// [`VAULT_WORKERS`].
pub const SIGN_EXCESS: u64 = 256;

/// The alarm about a key is given once in this time, and stands in status for as long.
pub const SIGN_ALARM_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Keys of which the rate is known: the busiest. As many as a table counts exactly.
pub const SIGN_RATES: usize = 4096;

/// Alarms that stand in status at once.
pub const SIGN_ALARMS: usize = 16;

/// A vault that lives shorter than this ended because of its surroundings, not of its work.
pub const VAULT_SHORT_LIFE: Duration = Duration::from_secs(1);

/// The longest pause between two starts of a vault that keeps ending at once.
pub const VAULT_RESTART_PAUSE: Duration = Duration::from_secs(5);

/// Longest text in an answer of the vault.
pub const VAULT_TEXT: usize = 512;
/// Certificates of the internal CA that are made at the same time; each is a few milliseconds.
pub const INTERNAL_ORDERS_AT_ONCE: usize = 32;

/// How long a question for renewal information may take.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(60);

/// When a CA that did not answer is asked for renewal information again.
pub const CHECK_RETRY: Duration = Duration::from_secs(3600);

/// Records that are added in one transaction: some hundred KiB, and ten transactions for the
/// largest files instead of ten thousand.
pub const ADDED_AT_ONCE: usize = 1000;

/// How long nothing is tried after the store refused a write.
pub const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Sets of names, and single names, whose budgets are remembered before full ones are forgotten.
pub const BUDGETS: usize = 65_536;
/// Bytes of one request head, request line included: browsers with many cookies stay below 16 KiB.
pub const HEAD_BYTES: usize = 32 * 1024;

/// Fields of one request head; hyper parses this many without an allocation.
pub const HEAD_FIELDS: usize = 100;

/// Bytes of one chunk extension; nobody is known to use them.
pub const CHUNK_EXTENSION: usize = 256;

/// Streams that one HTTP/2 connection may have open; browsers stay near this number.
pub const H2_STREAMS: u32 = 128;

/// Bytes in flight towards us on one HTTP/2 stream, and on all streams of a connection.
pub const H2_STREAM_WINDOW: u32 = 256 * 1024;

/// See [`H2_STREAM_WINDOW`].
pub const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes queued for one HTTP/2 stream before its origin is read further.
pub const H2_SEND_BUFFER: usize = 256 * 1024;

/// Streams a client may reset before they were looked at (CVE-2023-44487).
pub const H2_PENDING_RESETS: usize = 64;

/// Streams of a connection that we may have reset for the client's mistakes before it is ended.
pub const H2_LOCAL_RESETS: usize = 128;

/// Requests that an HTTP/2 client may take back beyond those it lets be answered: each costs the
/// origin a connection (CVE-2023-44487, sent slowly). A browser that scrolls takes back some dozen.
pub const H2_TAKEN_BACK: i64 = 256;

/// Bytes of each direction of an upgraded connection that may be under way.
pub const RELAY_BUFFER: usize = 64 * 1024;

/// Bytes of the read and write buffers of one HTTP/1 connection.
pub const H1_BUFFER: usize = 256 * 1024;

/// Connections the kernel may hold for one listener before they are accepted.
pub const LISTEN_BACKLOG: i32 = 4096;

/// How long a connection waits in the kernel for the client's first octet before it is accepted
/// without. The kernel counts in repetitions of its own answer, the first of which is due after a
/// second; a client that speaks later than that is rare, and only costs the wake-up saved elsewhere.
pub const DEFER_ACCEPT_SECONDS: i32 = 1;

/// How long a listener that is about to close still accepts: a repetition of the kernel's answer
/// (see [`DEFER_ACCEPT_SECONDS`]) brings up every client that waits in the kernel.
pub const DEFER_ACCEPT_REST: Duration = Duration::from_millis(1200);

/// Clients of one listener that may have sent data before their address is proven (RFC 7413,
/// section 5.1); further ones connect as usual. As many as come within 50 ms at 5,000 a second.
pub const FAST_OPEN_PENDING: i32 = 256;

/// Connections that a worker takes in a row before its other tasks have their turn: about five
/// milliseconds of full handshakes.
pub const ACCEPT_BATCH: usize = 32;

/// Places of each row of a ledger of client networks. A hundred networks that flood are taken for
/// one of 400 others by chance; with four ledgers, a worker spends 128 KiB on them.
pub const LEDGER_PLACES: usize = 2048;

/// Bytes of a ClientHello that are kept while it comes in pieces: the largest record. Those of
/// browsers have some two thousand.
pub const HELLO_KEPT: usize = 16 * 1024 + 5;

/// How long the time that handshakes took is remembered: bursts shorter than this pass, longer ones
/// are a flood.
pub const HANDSHAKE_MEMORY: Duration = Duration::from_secs(1);

/// The most that one step of a handshake counts for. A signature with RSA-4096 takes some 5 ms on a
/// slow core; what takes longer was held up by something else.
pub const HANDSHAKE_COST_MOST: Duration = Duration::from_millis(10);

/// What of the time for handshakes counts as left, for the share of one network, when nothing is:
/// so that who has used nothing yet has its turn while others are being turned away. Three hundred
/// networks that flood may all have so much before it is more than there is.
pub const HANDSHAKE_RESERVE: f32 = 0.001;

/// What it costs to turn a client away: to accept it, to read its ClientHello, and to close, as
/// `cargo bench --bench accept` measures it.
pub const TURNING_AWAY: Duration = Duration::from_micros(32);

/// The least time for a handshake while places for connections are short: over a satellite, it
/// takes two round trips of 600 ms, and a lost packet.
pub const HANDSHAKE_LEAST: Duration = Duration::from_secs(2);

/// So many full handshakes may wait for their clients on a worker, however few connections it may
/// have; more than that, half of its connections may.
pub const UNFINISHED_LEAST: usize = 64;

/// Tickets that spared no signature before those of a network are not believed in for a while: some
/// clients of an office may bring tickets from before a restart.
pub const FALSE_TICKETS: f32 = 16.0;

/// How long false tickets are remembered.
pub const FALSE_TICKET_MEMORY: Duration = Duration::from_secs(60);

/// Orders (listen, stop listening, drain) that wait for one worker of the edge.
pub const WORKER_ORDERS: usize = 1024;

/// Bytes still read from a client after the answer that ends its connection, so that the answer
/// is not lost to a reset (RFC 9112, section 9.6).
pub const LINGER_BYTES: usize = 256 * 1024;

/// What a connection has to have sent before its records become the kernel's business: the change
/// costs some system calls, and a page with its pictures is through by then.
pub const KERNEL_TLS_AFTER: u64 = 256 * 1024;

/// Records that the kernel may seal under one key of AES-GCM (RFC 8446, section 5.5, which allows
/// half as many again): it cannot be given another on every kernel, so the connection ends. Full
/// ones make 256 GiB.
pub const KERNEL_TLS_RECORDS: u64 = 1 << 24;

/// Records without content that a client may send in a row, which costs us as much as it.
pub const KERNEL_TLS_EMPTY: u32 = 32;

/// For how long the kernel is waited for when its TLS is tried out at the start: an octet to
/// oneself takes no time, and where it takes any, something is broken.
pub const KERNEL_TLS_PROBE: Duration = Duration::from_secs(1);

/// How long such a client may take.
pub const LINGER: Duration = Duration::from_secs(1);

/// How long an idle HTTP/1 connection may, while draining, still send a request: it is answered
/// and closed then, where a close at once would lose a request that is already under way.
pub const DRAIN_IDLE: Duration = Duration::from_secs(2);

/// A request that may not be sent twice goes out on an origin connection that was in use within
/// this time, or on a new one: servers close idle connections after two seconds at the earliest.
pub const ORIGIN_SURE: Duration = Duration::from_secs(1);

/// Origin connections that nobody needed for this long are closed when the next one comes free.
pub const ORIGIN_IDLE: Duration = Duration::from_secs(60);

/// Pause after an accept that the kernel refused for lack of descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest field of a line in the journal, in bytes: the message and its details together stay well
/// below the kernel's limit for one datagram (about 200 KiB).
pub const JOURNAL_FIELD: usize = 16 * 1024;

/// The longest RSA key that is taken in: ring signs with no longer one.
pub const RSA_BITS_MOST: usize = 4096;

/// Certificates in a file that is brought: leaf, some intermediates, and a few too many.
pub const IMPORT_CHAIN: usize = 16;

/// Largest file with a chain or a key that is brought.
pub const IMPORT_FILE: u64 = 256 * 1024;

/// How long a thread of the vault waits for another that opens the key it wants: many times what
/// an RSA-4096 key takes, and less than [`VAULT_SIGN_DEADLINE`] leaves.
pub const VAULT_OPENING: Duration = Duration::from_millis(500);

/// Sealed keys that did not open and are not tried again for now: some kilobytes of them.
pub const VAULT_REFUSED_ENTRIES: usize = 256;

/// For how long. A person who puts a record right does not wait, because it is another record then.
pub const VAULT_REFUSED_FOR: Duration = Duration::from_secs(5);

/// One part in so many of the cache may be pinned: the rest is for whoever comes.
pub const VAULT_PINNED_SHARE: u64 = 4;

/// A key is pinned from so much heat on, that is signatures of late: fewer are no habit.
pub const VAULT_PIN_HEAT: u64 = 16;

/// Keys that are named as the busiest and opened first at the next start: tens of milliseconds of
/// the vault's work, and most of the handshakes even where a million names are served.
pub const VAULT_BUSIEST: usize = 4096;

/// How many of them fit into one frame.
pub const VAULT_BUSIEST_PAGE: usize = 400;

/// Between two looks at which keys are the busiest. What a kill loses of the list is not more.
pub const BUSIEST_PERIOD: Duration = Duration::from_secs(60);

/// How long opening the busiest keys at a start may take, with everything else going on.
pub const WARMING: Duration = Duration::from_secs(10);

/// Keys that are opened in a row while warming, before others have their turn: two milliseconds.
pub const WARMING_BATCH: usize = 64;

/// Names in a certificate that is brought; CAs put some hundred into one at most.
pub const IMPORT_NAMES: usize = 500;

/// Effort of brotli on a certificate, of 11. At 5 a chain of 2.8 kB takes 0.1 ms, about as much as
/// the handshake that waits for it, and shrinks to 27 %; at 11 it takes 4 ms and shrinks to 26 %.
pub const BROTLI_QUALITY: u32 = 5;

/// Brotli's window, as a power of two. Shorter ones choose a hash that takes twenty times as long.
pub const BROTLI_WINDOW: u32 = 22;

/// Effort of zlib on a certificate, of 9: the most is 0.05 ms.
pub const ZLIB_LEVEL: i32 = 9;

/// Bytes of certificates that the edge keeps ready for handshakes. With a chain of 2 kB one is weighed
/// at 10 kB, all its compressed forms included: five thousand of them. `cargo bench --bench lookup`
/// measures 3.6 kB for one of 0.4 kB that is not compressed, with what was chosen for its name, and
/// that is weighed at as much. One that is not among them costs a read and some twenty microseconds.
pub const CASTS_BYTES: u64 = 48 * 1024 * 1024;

/// Bytes of what was chosen for names, about 220 each: seventy thousand names, with and without a
/// certificate.
pub const CHOICES_BYTES: u64 = 16 * 1024 * 1024;

/// How long the choice of a certificate for a name holds at most. Changes are told at once; this is
/// for the day on which one is not.
pub const CHOICE_LIFE: Duration = Duration::from_secs(600);

/// The same for a name without a certificate, and for a catalog that cannot be read: soon enough
/// for a client that tries again, and rare enough for a flood of names.
pub const CHOICE_LIFE_EMPTY: Duration = Duration::from_secs(10);

/// Longest session ticket that is made or looked at. A session without certificates of the client
/// takes some 350 octets at most, with a name of 253.
pub const TICKET_BYTES: usize = 1024;

/// Largest state of the ticket ratchet that is read: a sealed record of some 250 octets.
pub const TICKET_STATE: u64 = 4096;

/// Orders to the keeper of ticket keys that wait: replacements, and restarts of the vault.
pub const TICKET_ORDERS: usize = 16;

/// How far an epoch's beginning may be off before it is written anew, which is a sync of the disk.
pub const TICKET_CLOCK_DRIFT: Duration = Duration::from_secs(60);

/// Octets that a client may send before its handshake is complete: a request with a large cookie.
pub const EARLY_DATA: u32 = 16 * 1024;

/// Sessions that are remembered for clients who may speak early, for each of two ticket keys: some
/// 200 octets each. Whoever's is forgotten shakes hands in full.
pub const EARLY_SESSIONS: usize = 16 * 1024;

/// Parts of that store, each with a lock of its own: handshakes of all workers take and put there.
pub const EARLY_SHARDS: usize = 16;
