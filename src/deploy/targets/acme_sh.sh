# Runs a deploy hook of acme.sh, unchanged: HOOK NAME, and before it settings as NAME=VALUE, which a hook
# looks for in its environment. What acme.sh offers its hooks is here as far as they use it to deploy; its
# memory is not: settings come from the configuration each time.
hook=$1
name=$2
shift 2
for setting in "$@"; do
    export "${setting?}"
done

_info() { printf '%s\n' "$*"; }
_err() { printf '%s\n' "$*" >&2; return 1; }
_debug() { :; }
_debug2() { :; }
_debug3() { :; }
_secure_debug() { :; }
_secure_debug2() { :; }
_secure_debug3() { :; }

_getdeployconf() { :; }
_savedeployconf() { :; }
_cleardeployconf() { :; }
_migratedeployconf() { :; }
_savedomainconf() { :; }
_readdomainconf() { :; }
_cleardomainconf() { :; }

_exists() { command -v "$1" >/dev/null 2>&1; }
_contains() { case $1 in *"$2"*) return 0 ;; esac; return 1; }
_startswith() { case $1 in "$2"*) return 0 ;; esac; return 1; }
_endswith() { case $1 in *"$2") return 0 ;; esac; return 1; }
_hasfield() {
    case "${3:-,}$1${3:-,}" in *"${3:-,}$2${3:-,}"*) return 0 ;; esac
    return 1
}
_lower_case() { tr '[:upper:]' '[:lower:]'; }
_upper_case() { tr '[:lower:]' '[:upper:]'; }
_egrep_o() { grep -E -o "$1"; }
_head_n() { head -n "$1"; }
_tail_n() { tail -n "$1"; }
_math() { printf '%s' "$(($*))"; }
_time() { date +%s; }
_sleep() { sleep "$1"; }
_mktemp() { mktemp "$RENEWED_LINEAGE/XXXXXXXX"; }
_base64() { if [ "$1" ]; then openssl base64 -e; else openssl base64 -e | tr -d '\r\n'; fi; }
_dbase64() { if [ "$1" ]; then openssl base64 -d -A; else openssl base64 -d; fi; }
_json_encode() { sed 's/\\/\\\\/g; s/"/\\"/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'; }
_normalizeJson() { sed 's/" *: *\([\["{0-9tfn]\)/":\1/g' | tr -d '\r\n'; }

# Where hooks keep what they make, and who they are for.
export LE_WORKING_DIR="$RENEWED_LINEAGE" DOMAIN_PATH="$RENEWED_LINEAGE"
export CERT_KEY_PATH="$LEGO_CERT_KEY_PATH" CERT_PATH="$RENEWED_LINEAGE/cert.pem"
export CA_CERT_PATH="$LEGO_ISSUER_CERT_PATH" CERT_FULLCHAIN_PATH="$LEGO_CERT_PATH"
export Le_Domain="$LEGO_CERT_DOMAIN"

. "$hook" || exit 1
"${name}_deploy" "$LEGO_CERT_DOMAIN" "$CERT_KEY_PATH" "$CERT_PATH" "$CA_CERT_PATH" "$CERT_FULLCHAIN_PATH"
