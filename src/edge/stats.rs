//! What the edge counts.
//!
//! Each worker counts for itself in memory of its own; the sums are made when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A count that one thread changes and any may read.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Adds one. A plain load and store suffice, as there is one writer.
    pub(super) fn up(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    pub(super) fn down(&self) {
        self.0.store(self.get().saturating_sub(1), Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one worker, on cache lines that no other worker writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) open: Counter,
    pub(super) resting: Counter,
    pub(super) accepted: Counter,
    pub(super) full: Counter,
    pub(super) resumed: Counter,
    pub(super) false_tickets: Counter,
    pub(super) timeout: Counter,
    pub(super) unknown_name: Counter,
    pub(super) no_certificate: Counter,
    pub(super) protocol: Counter,
    pub(super) closed: Counter,
    pub(super) tickets_issued: Counter,
    pub(super) tickets_accepted: Counter,
    pub(super) tickets_unknown: Counter,
    pub(super) tickets_refused: Counter,
    pub(super) kernel_tls: Counter,
    pub(super) kernel_tls_refused: Counter,
    pub(super) kernel_tls_rekeyed: Counter,
    pub(super) early: Counter,
    pub(super) too_early: Counter,
    pub(super) challenges: Counter,
    pub(super) away_connections: Counter,
    pub(super) away_handshakes: Counter,
    pub(super) away_busy: Counter,
    pub(super) away_unfinished: Counter,
    /// No count: the network of the client that was turned away last.
    pub(super) crowding: Counter,
    pub(super) requests: Counter,
    pub(super) refused: Counter,
    pub(super) forbidden: Counter,
    pub(super) closed_sites: Counter,
    pub(super) over_rate: Counter,
    pub(super) unauthorized: Counter,
    pub(super) guessing: Counter,
    pub(super) bodies_too_long: Counter,
    pub(super) answers_too_long: Counter,
    pub(super) origin_failures: Counter,
    pub(super) origin_connections: Counter,
    pub(super) origin_retries: Counter,
    pub(super) origin_ejections: Counter,
    pub(super) origins_full: Counter,
    pub(super) upgrades: Counter,
    pub(super) tcp_total: Counter,
    pub(super) tcp_open: Counter,
    pub(super) tcp_through: Counter,
    pub(super) tcp_no_server: Counter,
    pub(super) tcp_refused: Counter,
    pub(super) tcp_sent: Counter,
    pub(super) tcp_received: Counter,
    pub(super) panics: Counter,
    pub(super) looked_up: Counter,
    pub(super) catalog_failures: Counter,
    pub(super) quic: Counter,
    pub(super) quic_retries: Counter,
    pub(super) quic_requests: Counter,
}

/// What the edge has done since it started, over all workers.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct EdgeStats {
    /// Client connections.
    pub connections: Connections,
    /// TLS handshakes.
    pub handshakes: Handshakes,
    /// Session tickets.
    pub tickets: TicketFigures,
    /// Clients turned away before they cost much, by reason.
    pub turned_away: TurnedAway,
    /// Requests that came before their handshake was complete.
    pub early: EarlyFigures,
    /// Connections whose TLS became the kernel's business.
    pub kernel_tls: KernelTlsFigures,
    /// Challenges answered, of either kind.
    pub challenges: u64,
    /// Requests that had a well-formed head.
    pub requests: u64,
    /// Of these, refused before they reached an origin.
    pub refused: u64,
    /// Of these, what sites and routes ask for was not there.
    pub policies: PolicyFigures,
    /// Of these, answered with 502 or 504.
    pub origin_failures: u64,
    /// Connections opened to origins.
    pub origin_connections: u64,
    /// Requests sent to another server after one had failed them.
    pub origin_retries: u64,
    /// Servers left out for a while, by each worker for itself.
    pub origin_ejections: u64,
    /// Requests answered with 503, because no server might have more.
    pub origins_full: u64,
    /// Connections that left HTTP by an upgrade.
    pub upgrades: u64,
    /// Services that are no HTTP.
    pub tcp: TcpFigures,
    /// Connections lost to a fault of our own.
    pub panics: u64,
    /// The choice of certificates.
    pub certificates: Lookups,
    /// Lines of the access log.
    pub access_log: AccessFigures,
    /// HTTP/3.
    pub http3: Http3Figures,
}

/// What of all this was over HTTP/3.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Http3Figures {
    /// Connections whose handshake was finished.
    pub connections: u64,
    /// Requests.
    pub requests: u64,
    /// Clients that had to show first that they are where they say.
    pub retries: u64,
}

/// Services that are no HTTP.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct TcpFigures {
    /// Connections that were led to a service.
    pub connections: u64,
    /// Of those, the ones that are open now.
    pub open: u64,
    /// Of those, the ones whose TLS was passed through.
    pub passed_through: u64,
    /// Of those, the ones for which no server was to be had.
    pub no_server: u64,
    /// Connections that did not ask for TLS as their protocol has it.
    pub refused: u64,
    /// Octets that clients were sent.
    pub octets_sent: u64,
    /// Octets that clients sent.
    pub octets_received: u64,
}

/// What sites and routes ask of requests, and was not there.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct PolicyFigures {
    /// The client's address was not let in.
    pub forbidden: u64,
    /// The site was being worked on.
    pub maintenance: u64,
    /// The client's network had more than its rate.
    pub over_rate: u64,
    /// There was no name with its password.
    pub unauthorized: u64,
    /// A password was not looked at, after too many tries or because too many waited.
    pub guessing: u64,
    /// The request's body was too long.
    pub bodies_too_long: u64,
    /// The origin's answer was too long.
    pub answers_too_long: u64,
}

/// Lines of the access log.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct AccessFigures {
    /// The file or the journal has taken them.
    pub written: u64,
    /// They came faster than that, or it could not be written.
    pub lost: u64,
}

/// How certificates were found; all other handshakes knew theirs.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Lookups {
    /// The catalog was asked.
    pub looked_up: u64,
    /// It could not be read.
    pub failed: u64,
}

/// Client connections.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Of those, the ones that have given their buffers back until the client is heard.
    pub resting: u64,
    /// Accepted since the start.
    pub total: u64,
}

/// TLS handshakes.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Handshakes {
    /// With a signature.
    pub full: u64,
    /// From a ticket.
    pub resumed: u64,
    /// Of those with a signature, the ones whose client brought a ticket; and those that brought
    /// one and were not finished.
    pub false_tickets: u64,
    /// Not finished.
    pub failed: HandshakeFailures,
}

/// Session tickets.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct TicketFigures {
    /// Made.
    pub issued: u64,
    /// Brought back and opened; each counts once, whether or not the handshake went on with it.
    pub accepted: u64,
    /// Brought, and sealed with a key that is not, or no longer, accepted.
    pub unknown: u64,
    /// Brought, and altered, or made for another certificate.
    pub refused: u64,
}

/// Requests that came before their handshake was complete.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct EarlyFigures {
    /// Sent on with `Early-Data: 1`.
    pub taken: u64,
    /// Answered with 425.
    pub refused: u64,
}

/// Connections whose TLS became the kernel's business.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct KernelTlsFigures {
    /// The kernel has them.
    pub taken: u64,
    /// The kernel refused them, after it had taken others at the start.
    pub refused: u64,
    /// Of those that it took, ended because the client changed its keys.
    pub rekeyed: u64,
}

/// Why handshakes did not finish.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct HandshakeFailures {
    /// The deadline passed.
    pub timeout: u64,
    /// The client named no site of ours.
    pub unknown_name: u64,
    /// The site has no certificate yet.
    pub no_certificate: u64,
    /// No common ground, nonsense, or a signature that could not be had.
    pub protocol: u64,
    /// The client went away.
    pub closed: u64,
}

/// Why clients were turned away.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct TurnedAway {
    /// Their network had its share of the connections.
    pub connections: u64,
    /// Their network had its share of the time for handshakes.
    pub handshakes: u64,
    /// There was no time left for handshakes.
    pub busy: u64,
    /// Too many handshakes waited for their clients.
    pub unfinished: u64,
}

impl TurnedAway {
    /// For whatever reason.
    pub const fn total(&self) -> u64 {
        let Self { connections, handshakes, busy, unfinished } = self;
        connections.wrapping_add(*handshakes).wrapping_add(*busy).wrapping_add(*unfinished)
    }
}

impl EdgeStats {
    pub(super) fn sum(workers: &[Arc<Counters>]) -> Self {
        let sum = |pick: fn(&Counters) -> &Counter| workers.iter().map(|w| pick(w).get()).sum();
        Self {
            connections: Connections {
                open: sum(|w| &w.open),
                resting: sum(|w| &w.resting),
                total: sum(|w| &w.accepted),
            },
            handshakes: Handshakes {
                full: sum(|w| &w.full),
                resumed: sum(|w| &w.resumed),
                false_tickets: sum(|w| &w.false_tickets),
                failed: HandshakeFailures {
                    timeout: sum(|w| &w.timeout),
                    unknown_name: sum(|w| &w.unknown_name),
                    no_certificate: sum(|w| &w.no_certificate),
                    protocol: sum(|w| &w.protocol),
                    closed: sum(|w| &w.closed),
                },
            },
            tickets: TicketFigures {
                issued: sum(|w| &w.tickets_issued),
                accepted: sum(|w| &w.tickets_accepted),
                unknown: sum(|w| &w.tickets_unknown),
                refused: sum(|w| &w.tickets_refused),
            },
            turned_away: TurnedAway {
                connections: sum(|w| &w.away_connections),
                handshakes: sum(|w| &w.away_handshakes),
                busy: sum(|w| &w.away_busy),
                unfinished: sum(|w| &w.away_unfinished),
            },
            early: EarlyFigures { taken: sum(|w| &w.early), refused: sum(|w| &w.too_early) },
            kernel_tls: KernelTlsFigures {
                taken: sum(|w| &w.kernel_tls),
                refused: sum(|w| &w.kernel_tls_refused),
                rekeyed: sum(|w| &w.kernel_tls_rekeyed),
            },
            challenges: sum(|w| &w.challenges),
            requests: sum(|w| &w.requests),
            refused: sum(|w| &w.refused),
            policies: PolicyFigures {
                forbidden: sum(|w| &w.forbidden),
                maintenance: sum(|w| &w.closed_sites),
                over_rate: sum(|w| &w.over_rate),
                unauthorized: sum(|w| &w.unauthorized),
                guessing: sum(|w| &w.guessing),
                bodies_too_long: sum(|w| &w.bodies_too_long),
                answers_too_long: sum(|w| &w.answers_too_long),
            },
            origin_failures: sum(|w| &w.origin_failures),
            origin_connections: sum(|w| &w.origin_connections),
            origin_retries: sum(|w| &w.origin_retries),
            origin_ejections: sum(|w| &w.origin_ejections),
            origins_full: sum(|w| &w.origins_full),
            upgrades: sum(|w| &w.upgrades),
            access_log: AccessFigures::default(),
            tcp: TcpFigures {
                connections: sum(|w| &w.tcp_total),
                open: sum(|w| &w.tcp_open),
                passed_through: sum(|w| &w.tcp_through),
                no_server: sum(|w| &w.tcp_no_server),
                refused: sum(|w| &w.tcp_refused),
                octets_sent: sum(|w| &w.tcp_sent),
                octets_received: sum(|w| &w.tcp_received),
            },
            http3: Http3Figures {
                connections: sum(|w| &w.quic),
                requests: sum(|w| &w.quic_requests),
                retries: sum(|w| &w.quic_retries),
            },
            panics: sum(|w| &w.panics),
            certificates: Lookups {
                looked_up: sum(|w| &w.looked_up),
                failed: sum(|w| &w.catalog_failures),
            },
        }
    }
}
