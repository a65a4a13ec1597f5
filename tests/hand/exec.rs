//! A program of the operator's is given a pair: what it finds, where it may write, and what is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keyward::deploy::hand::Stage;

use crate::scene::Scene;

/// A target whose program is this text, and which may write in `out` and `log`.
fn target(scene: &Scene, script: &str, more: &str) {
    let path = scene.path("etc/program.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    scene.target(&format!(
        "kind = \"exec\"\nprobe = \"none\"\ncommand = [\"{}\", \"OUT\", \"a b\"]\npaths = [\"OUT\"]\n{more}",
        path.display()
    ));
}

#[test]
fn it_finds_the_pair_where_lego_and_certbot_would_have_put_it() {
    let scene = Scene::new();
    target(
        &scene,
        "cd \"$1\"; echo \"$2\" > word; echo \"$RENEWED_DOMAINS\" > names; echo \"$LEGO_CERT_DOMAIN\" > first\n\
         cp \"$RENEWED_LINEAGE/fullchain.pem\" \"$RENEWED_LINEAGE/privkey.pem\" \"$RENEWED_LINEAGE/cert.pem\" .\n\
         cmp \"$LEGO_CERT_PATH\" fullchain.pem && cmp \"$LEGO_CERT_KEY_PATH\" privkey.pem || exit 9\n\
         cat privkey.pem fullchain.pem | cmp - \"$LEGO_CERT_PEM_PATH\" || exit 8\n\
         test -e \"$LEGO_ISSUER_CERT_PATH\" || exit 7\n\
         stat -f -c %T \"$RENEWED_LINEAGE\" > kind; echo \"$RENEWED_LINEAGE\" > where\n\
         stat -c %a \"$RENEWED_LINEAGE\" > mode; env | cut -d= -f1 | sort > environment",
        "",
    );
    let made = scene.pair();
    scene.bring(&made);
    let text = |file: &str| scene.text(file).trim().to_owned();
    assert_eq!(text("word"), "a b");
    assert_eq!([text("names"), text("first")], ["mail.example.org", "mail.example.org"]);
    assert_eq!(scene.text("fullchain.pem"), made.chain_pem());
    assert_eq!(scene.text("cert.pem"), made.chain_pem());
    assert_eq!(scene.text("privkey.pem"), made.key);
    assert_eq!([text("kind"), text("mode")], ["tmpfs", "700"]);
    assert!(!Path::new(&text("where")).exists(), "the key is still there");
    let environment = text("environment");
    assert!(
        !environment.contains("HOME") && environment.contains("RENEWED_LINEAGE"),
        "{environment}"
    );
}

#[test]
fn it_writes_where_it_may_and_gains_nothing() {
    let scene = Scene::new();
    fs::write(scene.path("log/theirs"), "theirs").unwrap();
    fs::write(scene.path("state/secret"), "x").unwrap();
    let (log, state) =
        (scene.path("log").display().to_string(), scene.path("state").display().to_string());
    target(
        &scene,
        &format!(
            "cd \"$1\"; grep NoNewPrivs /proc/self/status > gain\n\
             echo x > {log}/theirs 2> denied; cat {state}/secret 2>> denied; id -u > user; exit 0"
        ),
        "",
    );
    scene.bring(&scene.pair());
    assert_eq!(fs::read_to_string(scene.path("log/theirs")).unwrap(), "theirs");
    assert!(scene.text("gain").trim().ends_with('1'));
    assert!(scene.text("denied").contains("Permission denied"));
    assert_eq!(scene.text("user").trim(), nix::unistd::geteuid().to_string());
}

#[test]
fn it_runs_as_the_user_who_is_named_with_no_group_of_roots() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    // Somebody else has to get there.
    let base = scene.path("");
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(scene.path("out"), Some(65534), None).unwrap();
    target(
        &scene,
        "cd \"$1\"; id -u > user; id -G > groups; cat \"$LEGO_CERT_KEY_PATH\" > key",
        "user = \"nobody\"",
    );
    let made = scene.pair();
    scene.bring(&made);
    assert_eq!(scene.text("user").trim(), "65534");
    assert_eq!(scene.text("groups").trim(), "65534");
    assert_eq!(scene.text("key"), made.key);
    target(&scene, "exit 0", "user = \"no-such-user\"");
    let error = scene.carry(&scene.pair()).unwrap_err();
    assert_eq!(error.reason, "there is no user no-such-user");
}

#[test]
fn one_that_fails_is_told_of_with_what_it_said_and_its_files_are_gone() {
    let scene = Scene::new();
    target(&scene, "echo \"$RENEWED_LINEAGE\" > \"$1/where\"; echo no such server >&2; exit 4", "");
    let error = scene.carry(&scene.pair()).unwrap_err();
    assert_eq!((error.stage, error.as_it_was), (Stage::TakeUp, false));
    assert!(error.reason.contains("exit status: 4: no such server"), "{error}");
    assert!(!Path::new(scene.text("where").trim()).exists());
    // What is judged badly cannot be undone, and that is said.
    target(&scene, "exit 0", "");
    let error = scene.carry(&scene.pair()).unwrap().put_back().unwrap_err();
    assert!(error.reason.contains("nobody but the program knows"), "{error}");
}

/// In the manner of those that acme.sh comes with.
const HOOK: &str = r#"#!/usr/bin/env sh

#returns 0 means success, otherwise error.

########  Public functions #####################

#domain keyfile certfile cafile fullchain
shop_deploy() {
  _cdomain="$1"
  _ckey="$2"
  _ccert="$3"
  _cca="$4"
  _cfullchain="$5"

  _debug _cdomain "$_cdomain"
  _debug _ckey "$_ckey"

  _getdeployconf DEPLOY_SHOP_DIR
  if [ -z "$DEPLOY_SHOP_DIR" ]; then
    _err "DEPLOY_SHOP_DIR is not defined."
    return 1
  fi
  _savedeployconf DEPLOY_SHOP_DIR "$DEPLOY_SHOP_DIR"
  Le_Deploy_reload="${DEPLOY_SHOP_RELOAD-}"
  if _contains "$Le_Deploy_reload" "reload" && _exists cat && _startswith "$_cdomain" "mail."; then
    _info "Copying to $DEPLOY_SHOP_DIR"
  fi
  _temp="$(_mktemp)"
  cat "$_ckey" "$_cfullchain" >"$_temp" || return 1
  cat "$_temp" >"$DEPLOY_SHOP_DIR/shop.pem" || return 1
  printf '%s %s' "$_cdomain" "$(printf '%s' "$_cdomain" | _upper_case | _base64)" >"$DEPLOY_SHOP_DIR/word"
  cmp "$_ccert" "$_cfullchain" && [ -e "$_cca" ] || return 1
  eval "$Le_Deploy_reload" || return 1
}
"#;

#[test]
fn a_deploy_hook_of_acme_sh_runs_unchanged_with_its_settings() {
    let scene = Scene::new();
    let hook = scene.path("etc/shop.sh");
    fs::write(&hook, HOOK).unwrap();
    let target = |settings: &str| {
        scene.target(&format!(
            "kind = \"exec\"\nprobe = \"none\"\nhook = \"acme.sh\"\npaths = [\"OUT\"]\n\
             command = [\"{}\"{settings}]",
            hook.display()
        ));
    };
    target(", \"DEPLOY_SHOP_DIR=OUT\", \"DEPLOY_SHOP_RELOAD=echo reload 'now' > OUT/reload\"");
    let made = scene.pair();
    scene.bring(&made);
    assert_eq!(scene.text("shop.pem"), made.key.clone() + &made.chain_pem());
    assert_eq!(scene.text("word"), "mail.example.org TUFJTC5FWEFNUExFLk9SRw==");
    assert_eq!(scene.text("reload"), "reload now\n");
    assert_eq!(scene.listing(), ["reload", "shop.pem", "word"]);
    target("");
    let error = scene.carry(&made).unwrap_err();
    assert!(error.reason.contains("DEPLOY_SHOP_DIR is not defined."), "{error}");
    // One that has no such function.
    fs::write(&hook, "other_deploy() { :; }\n").unwrap();
    assert!(scene.carry(&made).unwrap_err().reason.contains("shop_deploy"));
    target(", \"not a setting\"");
    let error = scene.carry(&made).unwrap_err();
    assert!(error.reason.contains("\"not a setting\" is no setting of a hook"), "{error}");
}
