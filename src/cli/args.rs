//! What may be written on the command line. Help, completions and manual pages come from here.

use std::ffi::OsString;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory as _;
use clap::FromArgMatches as _;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap_complete::Shell;

use super::args_account::Account;
use super::args_account::Rotate;
use super::args_books::Ledger;
use super::args_books::Pack;
use super::args_bring::Adopt;
use super::args_bring::Import;
use super::args_bring::Onboard;
use super::args_bring::Switch;
use super::args_carry::Backup;
use super::args_carry::Export;
use super::args_carry::Restore;
use super::args_deploy::Deploy;
use super::args_deploy::Deployments;
use super::args_deploy::Undeploy;
use super::args_doctor::Doctor;
use super::args_issue::Issue;
use super::args_probe::Probe;
use super::args_token::Token;
use super::args_trust::Trust;
use super::notify::Notify;
use crate::cert::care::Accept;
use crate::cert::care::Reason;
use crate::cert::client::ClientName;

/// Where the daemon's socket is unless told otherwise.
const SOCKET: &str = "/run/keyward/admin.sock";

/// Where the configuration is unless told otherwise.
pub(super) const CONFIG: &str = "/etc/keyward/keyward.toml";

const AFTER_HELP: &str = "\
Exit statuses:
   0  done
   1  refused or failed
  64  the command line is wrong
  69  the daemon does not answer
  70  a fault in keyward itself
  77  not allowed
  78  the configuration is wrong";

/// One-click HTTPS for self-hosted servers.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, about, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Args {
    /// Socket of the daemon
    #[arg(long, global = true, value_name = "PATH", env = "KEYWARD_SOCKET", default_value = SOCKET)]
    pub(super) socket: PathBuf,
    /// Print JSON, as it comes from the daemon
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
    /// Longest wait for an answer, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value = "40", value_parser = seconds)]
    pub(super) timeout: Duration,
    /// File with a token, which counts in the place of the user that runs this
    #[arg(long, global = true, value_name = "FILE", env = "KEYWARD_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Args {
    /// Reads `arguments`, the first of which is the program.
    pub(super) fn read<I>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = OsString>,
    {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let args = Self::from_arg_matches(&matches)?;
        let asked = matches.value_source("socket") == Some(ValueSource::CommandLine);
        // It would be passed over in silence.
        let instead = match args.command {
            Command::Run { .. } => "`socket` below [admin] in the configuration",
            Command::Demo(_) => "--state, below which it is run/admin.sock,",
            _ => return Ok(args),
        };
        if asked {
            let text = format!(
                "--socket is for commands that ask a daemon; {instead} says where this one is asked"
            );
            return Err(command.error(ErrorKind::ArgumentConflict, text));
        }
        Ok(args)
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How much of the list.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "all")]
    pub(super) limit: Option<usize>,
    /// All of them, however many; without this, at most a thousand
    #[arg(long)]
    pub(super) all: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number above 0 is expected".to_owned()),
        Ok(number) => Ok(number),
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE", env = "KEYWARD_CONFIG", default_value = CONFIG)]
        config: PathBuf,
        /// Follow the process at standard input; only such a process says this
        #[arg(long, hide = true)]
        succeed: bool,
    },
    /// Check a configuration; needs no daemon, no root and no network
    Check {
        /// The configuration
        #[arg(value_name = "FILE", env = "KEYWARD_CONFIG", default_value = CONFIG)]
        file: PathBuf,
    },
    /// Serve a built-in page on https://localhost; needs no configuration, no root and no network
    Demo(Demo),
    /// Show how the daemon is
    Status {
        /// Also every counter
        #[arg(long, short)]
        verbose: bool,
    },
    /// List the certificates, those that need you first
    List(List),
    /// List the sites
    Sites,
    /// Show everything about one certificate
    Show {
        /// A name it is for, its id, or the beginning of the id
        name: String,
    },
    /// Renew one certificate now
    Renew {
        /// A name it is for, its id, or the beginning of the id
        name: String,
        /// Wait until it is installed or has failed
        #[arg(long)]
        wait: bool,
        /// Under another key, and have the present one revoked when its replacement is served
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why it is revoked, as for keyward revoke
        #[arg(long, value_name = "REASON", requires = "force", value_parser = reason)]
        reason: Option<Reason>,
    },
    /// Have a certificate renewed with the same names, type, level and issuer, or not at all
    Host(Host),
    /// Have it hosted no more
    Unhost {
        /// A name it is for, its id, or the beginning of the id
        name: String,
    },
    /// Replace one certificate, and have the CA revoke the former one when the replacement is served
    Revoke {
        /// A name it is for, its id, or the beginning of the id
        name: String,
        /// unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation
        #[arg(long, value_name = "REASON", default_value = "unspecified", value_parser = reason)]
        reason: Reason,
        /// Wait until it is revoked, or the CA refuses
        #[arg(long)]
        wait: bool,
    },
    /// Serve the certificate that stands by in the place of the present one
    Switch(Switch),
    /// Explain one certificate: what is served, what is being done, what went wrong, what to change
    Why {
        /// A name it is for, its id, or the beginning of the id
        name: String,
    },
    /// Examine a name: its DNS, CAA, ports 80 and 443, the CA, the clock; says what to change
    Doctor(Doctor),
    /// Show which certificate a server shows, also in protocols that ask for TLS; needs no daemon
    Probe(Probe),
    /// Print the DNS record that proves a name for good (dns-persist-01), and whether it is there
    DnsPersist {
        /// A name it is for, its id, or the beginning of the id; any name that is to be served
        name: String,
    },
    /// Take in a certificate from elsewhere, with its private key
    Import(Import),
    /// Take over what certbot, acme.sh, Caddy, Traefik or lego keep; shows it first, --apply does it
    Adopt(Adopt),
    /// Serve a name that is in no site, where `[onboarding]` says
    Onboard(Onboard),
    /// Serve an onboarded name no more, and delete its certificate
    Offboard {
        /// The name
        name: String,
        /// It may come back by itself, as any name may that leads here
        #[arg(long)]
        may_return: bool,
    },
    /// List the onboarded names
    Onboarded(List),
    /// Have certificates issued for use elsewhere, out of an allowance: one, or all in a file
    Issue(Issue),
    /// Delete an imported certificate and its key; of an issued one, end the order or revoke it
    Forget {
        /// A name it is for, its id, or the beginning of the id
        name: String,
    },
    /// Let clients have more certificates than are free, or less again
    Pack {
        #[command(subcommand)]
        what: Pack,
    },
    /// Show what clients may have, and what became of it
    Allowance {
        /// The client; all of them without one
        #[arg(value_parser = ClientName::parse)]
        client: Option<ClientName>,
    },
    /// Show how that came about, entry by entry
    Ledger(Ledger),
    /// Write an exportable private key into a file
    Export(Export),
    /// Bring a certificate with its key to a target, now and at every renewal
    Deploy(Deploy),
    /// Bring it there no more
    Undeploy(Undeploy),
    /// List what is brought where, and how far that is
    Deployments(Deployments),
    /// Write a backup: the database with its sealed keys, and the configuration
    Backup(Backup),
    /// Bring a backup back, on a machine without a database; needs no daemon
    Restore(Restore),
    /// Show what happened
    Events(Events),
    /// Show by which channels people are told of what happens, or try one
    Notify(Notify),
    /// List the accounts at CAs, or take in one that was opened elsewhere
    Account(Account),
    /// Replace secrets before their time
    Rotate {
        #[command(subcommand)]
        what: Rotate,
    },
    /// Apply the changed configuration
    Reload,
    /// Have the program as it is installed now take over, without a broken connection
    Upgrade,
    /// Make, list and revoke tokens, by which programs are clients
    Token {
        #[command(subcommand)]
        what: Token,
    },
    /// Print, trust or distrust the root of this machine's own CA
    Trust(Trust),
    /// Hash a password for basic_auth: prints a line for `users` or a users file; needs no daemon
    HashPassword {
        /// The name that goes with it
        name: String,
        /// Read the password from standard input instead of asking for it twice
        #[arg(long)]
        stdin: bool,
    },
    /// Print the interface of the socket as an OpenAPI document; needs no daemon
    Openapi,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Into this directory
        dir: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Serve HTTPS on this port of the loopback interface, or on this address
    #[arg(long, value_name = "ADDR", default_value = "8443", value_parser = addresses)]
    pub(super) https: Addresses,
    /// Redirect from this port of the loopback interface, or from this address
    #[arg(long, value_name = "ADDR", default_value = "8080", value_parser = addresses)]
    pub(super) http: Addresses,
    /// Keep the state in this directory
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    pub(super) state: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Host {
    /// A name it is for, its id, or the beginning of the id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) name: Option<String>,
    /// All that qualify
    #[arg(long)]
    pub(super) all: bool,
    /// Differences that are agreed to, with commas: dv for a lower level, issuer for another one
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = Accept::WORDS)]
    pub(super) accept: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Go on showing what happens, until interrupted
    #[arg(long, short)]
    pub(super) follow: bool,
    /// Only entries after this number
    #[arg(long, value_name = "N")]
    pub(super) after: Option<u64>,
    /// At most so many entries (of the past)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(super) limit: Option<u64>,
}

/// One address, or a port on both loopback addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Addresses(pub(super) Vec<SocketAddr>);

fn addresses(text: &str) -> Result<Addresses, String> {
    if let Ok(port) = text.parse::<u16>() {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        return Ok(Addresses(loopback.map(|ip| SocketAddr::new(ip, port)).to_vec()));
    }
    text.parse().map(|address| Addresses(vec![address])).map_err(|_| {
        "expected a port such as 8443, or an address such as 127.0.0.1:8443".to_owned()
    })
}

fn reason(text: &str) -> Result<Reason, String> {
    let words = || Reason::ALL.map(Reason::word).join(", ");
    Reason::parse(text).ok_or_else(|| format!("expected one of {}", words()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1 to 3600 seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_port_means_both_loopback_addresses() {
        let both = addresses("8443").unwrap().0;
        assert_eq!(both, ["127.0.0.1:8443".parse().unwrap(), "[::1]:8443".parse().unwrap()]);
        assert_eq!(addresses("[::]:1").unwrap().0, ["[::]:1".parse().unwrap()]);
        assert!(addresses("localhost").is_err());
        assert!(addresses("70000").is_err());
    }

    #[test]
    fn options_of_all_commands_may_stand_before_and_behind() {
        let parse = |line: &str| Args::try_parse_from(line.split(' ')).unwrap();
        for line in ["keyward --json --socket /s status", "keyward status --socket /s --json"] {
            let args = parse(line);
            assert!(args.json);
            assert_eq!(args.socket, PathBuf::from("/s"));
        }
        assert!(Args::try_parse_from(["keyward", "trust", "--install", "--uninstall"]).is_err());
        assert!(Args::try_parse_from(["keyward", "--timeout", "0", "status"]).is_err());
        // A backup is opened in one way.
        for two in ["--passphrase --identity /i", "--passphrase --passphrase-file /p"] {
            let line = format!("keyward restore /b {two}");
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{two}");
        }
        assert!(Args::try_parse_from(["keyward", "backup", "--master-key", "/m"]).is_err());
        // A certificate comes with its key, in two files or in one.
        for (line, sound) in [
            ("keyward import", false),
            ("keyward import --cert /c", false),
            ("keyward import --key /k", false),
            ("keyward import --cert /c --key /k", true),
            ("keyward import --pkcs12 /p", true),
            ("keyward import --pkcs12 /p --cert /c --key /k", false),
        ] {
            assert_eq!(Args::try_parse_from(line.split(' ')).is_ok(), sound, "{line}");
        }
        // One certificate or all of them, and no revocation without a reason.
        for (line, sound) in [
            ("keyward host", false),
            ("keyward host a.example --all", false),
            ("keyward host --all", true),
            ("keyward host a.example --accept dv,issuer", true),
            ("keyward host a.example --accept ov", false),
            ("keyward renew a.example --force", false),
            ("keyward renew a.example --reason keyCompromise", false),
            ("keyward renew a.example --force --reason key-compromise", true),
            ("keyward revoke a.example --reason removeFromCRL", false),
        ] {
            assert_eq!(Args::try_parse_from(line.split(' ')).is_ok(), sound, "{line}");
        }
        // The daemon itself has its socket from elsewhere.
        let read = |line: &str| Args::read(line.split(' ').map(OsString::from));
        for line in ["keyward run --socket /s", "keyward --socket /s demo"] {
            let refusal = read(line).unwrap_err().to_string();
            assert!(refusal.contains("--socket is for commands that ask"), "{refusal}");
        }
        assert!(read("keyward run --config /c").is_ok());
        let args = parse("keyward backup --master-key /m --passphrase");
        assert!(matches!(args.command, Command::Backup(Backup { passphrase: true, .. })));
    }
}
