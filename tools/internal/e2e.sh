# shellcheck shell=bash
# What the tools/e2e… have in common. Who includes it sets
# repo, defines fail, and is in a directory of its own.

declare -A pids=()

say() { printf '%s\n' "$*"; }

stop() { # <name>: ends what start has started, in order, and waits for it
  local pid=${pids[$1]:-} code=0 guard
  [[ -n $pid ]] || return 0
  unset "pids[$1]"
  kill "$pid" 2>/dev/null || true
  (sleep 60; kill -KILL "$pid") 2>/dev/null & # which makes the exit code 137
  guard=$!
  wait "$pid" || code=$?
  kill "$guard" 2>/dev/null || true
  wait "$guard" 2>/dev/null || true
  return $code
}

# ok <what> <command…> runs a command, which must succeed.
ok() {
  local what=$1 started=$SECONDS
  shift
  # Not as a condition: that would switch errexit off inside of functions.
  set +e
  (set -e; "$@") >step.log 2>&1 </dev/null
  local code=$?
  set -e
  ((code == 0)) || fail "$what (exit code $code)"
  local took=$((SECONDS - started))
  say "ok   $what$( ((took < 3)) || echo " ($took s)")"
}

# until_true <seconds> <command…> waits for what comes true by itself.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# The documents whose blocks are run as they stand.
documents=("$repo/README.md" "$repo"/docs/*.md "$repo"/docs/*/*.md)

block() { # <name>: writes to block.<name> the code block of a document that follows <!-- e2e: name -->
  awk -v mark="<!-- e2e: $1 -->" '
    $0 == mark { found = 1; next }
    found && /^```/ { if (inside) exit; inside = 1; next }
    inside' "${documents[@]}" >"block.$1"
  [[ -s block.$1 ]] || fail "no document has a block named $1"
}

# readme runs a block; what it sets stays for the next ones.
readme() {
  [[ ! -e variables ]] || source ./variables
  source "./block.$1"
  { declare -p token api secret mirror_host; declare -f post patch; } 2>/dev/null >variables || true
}

same() { [[ $1 == "$2" ]] || { echo "have: $1"; echo "want: $2"; return 1; }; }

ready() { curl -fsS "http://127.0.0.1:$1/readyz"; }
answers() { [[ $(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1/v2/") =~ ^(200|401)$ ]]; }
start_registry() { # <name> <port>: one of the distribution project, by <name>.yml
  registry serve "$1.yml" >>"$1.log" 2>&1 &
  pids[$1]=$!
  until_true 20 answers "$2" || fail "$1 does not answer"
}
