//! `keyward account`: the accounts at CAs, and one that was opened elsewhere taken in by its key, which is
//! sealed to the vault before it leaves this process.

use std::path::Path;

use super::args_account::Account;
use super::args_account::AccountOrder;
use super::args_account::AdoptAccount;
use super::connect::Client;
use super::import;
use super::material;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::account::AccountAdopted;
use crate::admin::wire::account::AccountEntry;
use crate::admin::wire::account::Accounts;
use crate::admin::wire::account::AdoptOrder;
use crate::cert::key::KeyUsage;
use crate::os::sandbox;
use crate::vault::key_file::KeyFile;
use crate::vault::key_jwk;

/// The private key of an account, as it was read.
pub(super) type AccountKey = KeyFile;

/// `keyward account [adopt]`
pub(super) fn account(client: &Client, what: &Account, out: &mut Out) -> Result<u8, Report> {
    match &what.what {
        None => list(client, out),
        Some(AccountOrder::Adopt(what)) => adopt(client, what, out),
    }
}

fn list(client: &Client, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get("/accounts?ask=true")?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let Accounts { accounts } = answer.decode()?;
    let titles = ["CA", "ACCOUNT", "STATUS", "CONTACT", "KEY", "SINCE"];
    let (mut table, now) = (render::table(out, &titles), out.now());
    for one in &accounts {
        let since = one.since.map(|since| render::relative(since, now));
        table.add_row([
            render::cell(&one.ca),
            render::cell(one.account.as_deref().unwrap_or("none yet")),
            render::cell(&status(one)),
            render::cell(&one.contact.join(" ")),
            render::cell(&key(one)),
            render::cell(&since.unwrap_or_default()),
        ]);
    }
    render::print(&table, out)?;
    for one in &accounts {
        let ca = plain(&one.ca);
        if let Some(trouble) = &one.trouble {
            out.line(format_args!("{ca}: {}", plain(trouble)))?;
        }
        if let Some(wanted) = &one.contact_wanted {
            let wanted = plain(&wanted.join(" "));
            out.line(format_args!("{ca}: its contacts are to be {wanted:?}; it is told again"))?;
        }
        if one.brought {
            out.line(format_args!(
                "{ca}: the key came from elsewhere, where others may have it; when nobody needs it \
                 there: keyward rotate account --ca {ca}"
            ))?;
        }
    }
    Ok(DONE)
}

fn status(one: &AccountEntry) -> String {
    match (&one.account, &one.status) {
        (None, _) => String::new(),
        (Some(_), Some(status)) => status.clone(),
        (Some(_), None) => "not known".to_owned(),
    }
}

fn key(one: &AccountEntry) -> String {
    let short = one.key.as_ref().map(|key| key.chars().take(12).collect::<String>());
    let kind = one.key_algorithm.map(|kind| kind.to_string());
    [short, kind].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `keyward account adopt --key FILE [--ca NAME] [--force]`
fn adopt(client: &Client, what: &AdoptAccount, out: &mut Out) -> Result<u8, Report> {
    // For a moment a private key is in this process: not in a core file, and not for others.
    sandbox::forbid_dumps()
        .map_err(|error| Report::new(FAULT, format!("cannot forbid core files: {error}")))?;
    let key = read(&what.key)?;
    let answer = take(client, &key, Some(&what.ca), what.force)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let adopted: AccountAdopted = answer.decode()?;
    let account = plain(&adopted.account);
    if adopted.already {
        return out.line(format_args!("the account {account} is here already")).map(|()| DONE);
    }
    let ca = plain(&adopted.ca);
    out.line(format_args!("{ca} is asked by the account {account} from now on"))?;
    if let Some(former) = &adopted.former {
        out.line(format_args!("  in the place of {}, which stays at the CA", plain(former)))?;
    }
    out.line(format_args!(
        "  its key stays where it was as well; when nobody needs it there: keyward rotate account \
         --ca {ca}"
    ))?;
    Ok(DONE)
}

/// Seals the key and has the daemon take the account in.
pub(super) fn take(
    client: &Client,
    key: &AccountKey,
    ca: Option<&str>,
    force: bool,
) -> Result<super::connect::Answer, Report> {
    let (encapsulated, sealed) = import::seal(client, key, KeyUsage::BroughtAccount)?;
    let order = AdoptOrder {
        ca: ca.map(str::to_owned),
        key: key.id.to_hex(),
        key_algorithm: key.algorithm,
        encapsulated,
        sealed,
        force,
    };
    client.post_json("/accounts/adopt", &order)
}

/// The key in a file, PEM or JSON.
pub(super) fn read(path: &Path) -> Result<AccountKey, Report> {
    let bytes = material::whole(path)?;
    let first = bytes.iter().find(|octet| !octet.is_ascii_whitespace());
    let read = match first {
        Some(b'{') => key_jwk::from_json(&bytes),
        _ => KeyFile::from_pem(&bytes),
    };
    read.map_err(|error| Report::new(FAILED, format!("{}: {error}", path.display())))
}

/// An RSA key in DER that was found at `place`, as Traefik has it.
///
/// # Errors
/// In words, when it is none.
pub(super) fn rsa(der: &[u8], place: &Path) -> Result<AccountKey, String> {
    KeyFile::from_pkcs1(der).map_err(|error| format!("{}: {error}", place.display()))
}
