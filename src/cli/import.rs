//! `keyward import`: seals a private key to the vault's import key, so that nothing on the way to
//! the vault sees it, and hands it in with its certificate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;

use super::args_bring::Import;
use super::connect::Client;
use super::material;
use super::material::Material;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::transfer::ImportKey;
use crate::admin::wire::transfer::ImportOrder;
use crate::admin::wire::transfer::Imported;
use crate::base::Timestamp;
use crate::cert::brought::Brought;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyUsage;
use crate::os::sandbox;
use crate::vault::import_box;
use crate::vault::import_box::Label;
use crate::vault::key_file::KeyFile;

/// `keyward import [NAME] --cert FILE --key FILE`
pub(super) fn import(client: &Client, what: &Import, out: &mut Out) -> Result<u8, Report> {
    // For a moment a private key is in this process: not in a core file, and not for others.
    sandbox::forbid_dumps()
        .map_err(|error| Report::new(FAULT, format!("cannot forbid core files: {error}")))?;
    let files = material::read(what)?;
    let (order, brought) = prepare(client, what, &files, out.now())?;
    let answer = client.post_json("/import", &order)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let imported: Imported = answer.decode()?;
    let certificate = &imported.certificate;
    let first = certificate.names.first().map_or("", String::as_str);
    let more = match certificate.names.len() {
        0 | 1 => String::new(),
        many => format!(" and {}", render::count(many as u64 - 1, "more name")),
    };
    let verb = if imported.replaced.is_some() { "replaced" } else { "imported" };
    out.line(format_args!("{verb} {}{more}, id {}", plain(first), certificate.id))?;
    if let Some(installed) = &certificate.installed {
        let until = render::both(installed.not_after, out);
        out.line(format_args!("  serial {}, valid until {until}", installed.serial))?;
    }
    let open_to_others = open_to_others(&files.key_at);
    for note in imported.notes.iter().chain(&distrust(&brought, out.now())).chain(&open_to_others) {
        out.line(format_args!("  note: {}", plain(note)))?;
    }
    Ok(DONE)
}

/// The order, with the key sealed; the key itself is wiped on return.
fn prepare(
    client: &Client,
    what: &Import,
    Material { chain, key, chain_at, .. }: &Material,
    now: Timestamp,
) -> Result<(ImportOrder, Brought), Report> {
    let brought = Brought::examine(chain, key.id, now, what.force).map_err(|error| {
        let report = Report::new(FAILED, format!("{}: {error}", chain_at.display()));
        if error.can_be_forced() { report.hint("--force, if you mean it") } else { report }
    })?;
    if let Some(name) = &what.name {
        let wanted = Identifier::parse(name)
            .map_err(|error| Report::new(FAILED, format!("{name:?} is no name: {error}")))?;
        if !brought.specification().covers(&wanted) {
            let names: Vec<_> = brought.leaf.names.iter().map(ToString::to_string).collect();
            let what = format!("the certificate is not for {wanted}, but for {}", names.join(", "));
            return Err(Report::new(FAILED, what));
        }
    }
    let order = order(client, &brought, key, what.exportable, what.force)?;
    Ok((order, brought))
}

/// The order for a certificate, with its key sealed to the vault.
pub(super) fn order(
    client: &Client,
    brought: &Brought,
    key: &KeyFile,
    exportable: bool,
    force: bool,
) -> Result<ImportOrder, Report> {
    let usage = if exportable { KeyUsage::ExportableTls } else { KeyUsage::Tls };
    let (encapsulated, sealed) = seal(client, key, usage)?;
    Ok(ImportOrder {
        chain: brought.chain.to_pem(),
        key: key.id.to_hex(),
        key_algorithm: key.algorithm,
        exportable,
        force,
        encapsulated,
        sealed,
    })
}

/// The key in a box for the vault, base64: the sender's half of the exchange, and the box.
pub(super) fn seal(
    client: &Client,
    key: &KeyFile,
    usage: KeyUsage,
) -> Result<(String, String), Report> {
    let vault: ImportKey = client.get("/import/key")?.decode()?;
    let strange = || Report::new(FAULT, "the daemon's import key is none");
    let public = STANDARD.decode(&vault.key).ok().and_then(|key| key.try_into().ok());
    let public: [u8; import_box::KEY] = public.ok_or_else(strange)?;
    let label = Label { algorithm: key.algorithm, usage, key: key.id };
    let made = import_box::seal(&public, label, &key.pkcs8).map_err(|_| strange())?;
    Ok((STANDARD.encode(made.encapsulated), STANDARD.encode(made.sealed)))
}

/// Says so when nobody whom this machine trusts has signed the chain.
fn distrust(brought: &Brought, now: Timestamp) -> Option<String> {
    let name = match brought.leaf.names.first()? {
        Identifier::Dns(dns) => dns.as_str().to_owned(),
        Identifier::Wildcard(base) => format!("any.{}", base.as_str()),
        Identifier::Ip(address) => address.to_string(),
    };
    let roots = rustls_native_certs::load_native_certs().certs;
    let mut store = rustls::RootCertStore::empty();
    store.add_parsable_certificates(roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
    let name = ServerName::try_from(name).ok()?;
    let certificates = brought.chain.to_rustls();
    let (leaf, issuers) = certificates.split_first()?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_unix()));
    let why = match verifier {
        Ok(verifier) => {
            verifier.verify_server_cert(leaf, issuers, &name, &[], at).err()?.to_string()
        }
        Err(_) => "this machine trusts nobody".to_owned(),
    };
    let issuer = &brought.leaf.issuer;
    Some(format!("this machine does not trust the chain of {issuer}: {why}"))
}

fn open_to_others(key: &Path) -> Option<String> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        format!(
            "{} can be read by others than its owner (mode {mode:03o}): delete it, or chmod 600",
            key.display()
        )
    })
}
