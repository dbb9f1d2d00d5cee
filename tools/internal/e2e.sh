# shellcheck shell=bash
# What tools/e2e and tools/e2e-cluster have in common. Who includes it sets
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
