//! `keyward token`: makes, lists and revokes tokens of clients, and reads the one that is shown.
//!
//! A token is never an argument, where others on the machine can read it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::args_token::Token;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::Report;
use super::report::USAGE;
use super::report::plain;
use crate::admin::wire::tokens::TokenMade;
use crate::admin::wire::tokens::TokenOrder;
use crate::admin::wire::tokens::TokenRevoked;
use crate::admin::wire::tokens::Tokens;
use crate::base::bounds::admin::TOKEN_FILE;
use crate::cert::token;

const TITLES: [&str; 7] = ["ID", "CLIENT", "NAME", "SCOPES", "EXPIRES", "LAST USED", "STATE"];

/// `keyward token create|list|revoke`
pub(super) fn token(client: &Client, what: &Token, out: &mut Out) -> Result<u8, Report> {
    match what {
        Token::Create { client: whose, name, scopes, expires } => {
            let (client_name, name, scopes) = (whose.clone(), name.clone(), scopes.clone());
            let expires_in = *expires;
            create(client, &TokenOrder { client: client_name, name, scopes, expires_in }, out)
        }
        Token::List { client: whose } => list(client, whose.as_deref(), out),
        Token::Revoke { id } => {
            let answer = client.delete(&format!("/tokens/{}", segment(id)))?;
            if out.json {
                return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
            }
            let TokenRevoked { token } = answer.decode()?;
            let (id, whose) = (plain(&token.id), plain(&token.client));
            out.line(format_args!("token {id} of client {whose} lets nobody in any more"))?;
            Ok(DONE)
        }
    }
}

fn create(client: &Client, order: &TokenOrder, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post_json("/tokens", order)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let TokenMade { token, about } = answer.decode()?;
    let token = Zeroizing::new(token);
    // Alone on standard output, so that it can go into a file.
    out.line(token.as_str())?;
    let (id, scopes) = (plain(&about.id), plain(&about.scopes.join(",")));
    let until =
        about.expires.map_or_else(|| "until revoked".to_owned(), |at| format!("until {at}"));
    out.note(format_args!("token {id} of client {}: {scopes}, {until}", plain(&about.client)));
    out.note("it is not shown again; use it by --token-file or KEYWARD_TOKEN_FILE");
    Ok(DONE)
}

fn list(client: &Client, whose: Option<&str>, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get("/tokens")?;
    if out.json && whose.is_none() {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let mut all: Tokens = answer.decode()?;
    all.tokens.retain(|token| whose.is_none_or(|whose| token.client == whose));
    if out.json {
        let text = serde_json::to_string(&all).unwrap_or_default();
        return out.line(text).map(|()| DONE);
    }
    if all.tokens.is_empty() {
        return out.line("there are no tokens").map(|()| DONE);
    }
    let mut table = render::table(out, &TITLES);
    for token in &all.tokens {
        let moment = |at: Option<_>, never: &str| match at {
            Some(at) => format!("{at}"),
            None::<crate::admin::wire::Moment> => never.to_owned(),
        };
        table.add_row([
            plain(&token.id),
            plain(&token.client),
            plain(&token.name),
            plain(&token.scopes.join(",")),
            moment(token.expires, "never"),
            moment(token.used, "never"),
            if token.good { "good" } else { "lets nobody in" }.to_owned(),
        ]);
    }
    render::print(&table, out).map(|()| DONE)
}

/// Reads the token that is to be shown, from a file with nothing else in it.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, Report> {
    let wrong = |why: String| Report::new(USAGE, format!("the token in {}: {why}", path.display()));
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    file.take(TOKEN_FILE).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    let token = Zeroizing::new(text.trim().to_owned());
    // A slip is told here, and costs no try at the daemon.
    token::read(&token).map_err(|error| wrong(error.to_string()))?;
    Ok(token)
}
