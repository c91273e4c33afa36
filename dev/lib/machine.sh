# shellcheck shell=bash
# Sourced: messages, and what must be installed on the machine.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=dev/${0##*/}

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() {
  say "$@"
  exit 1
}

# The comment at the head of the program.
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; }

# Waits until COMMAND succeeds, at most SECONDS.
wait_until() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.02
  done
}

has_program() { command -v "$1" >/dev/null; }
has_header() { echo "#include <$1>" | cc -E - >/dev/null 2>&1; }

# Installs the Debian packages whose program or header is missing, or says which they are.
need() { # (PROGRAM|HEADER.h)=PACKAGE...
  local pair what packages=()
  for pair in "$@"; do
    what=${pair%%=*}
    if [[ $what == *.h ]]; then has_header "$what"; else has_program "$what"; fi || packages+=("${pair#*=}")
  done
  ((${#packages[@]})) || return 0
  ((UID == 0)) && has_program apt-get || die "missing on this machine, install it and start again: ${packages[*]}"
  say "installing ${packages[*]}"
  mkdir -p "$cache"
  { apt_get update && apt_get install --no-install-recommends "${packages[@]}"; } >"$cache/apt-get.log" 2>&1 ||
    die "apt-get could not install ${packages[*]}: $(reason "$cache/apt-get.log")"
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes "$@"; }

need_rust() {
  has_program cargo || die "cargo is missing: install Rust 1.95 or newer and put cargo on the PATH"
  need cc=gcc c++=g++
  need make=make cmake=cmake pkg-config=pkg-config openssl/ssl.h=libssl-dev curl/curl.h=libcurl4-openssl-dev
}

# Refuses to begin what would fill the disk half way.
need_space() { # DIRECTORY MEBIBYTES
  local free
  free=$(df --output=avail --block-size=1M "$1" | tail -n 1)
  ((free >= $2)) || die "disk full: $1 has $((free)) MiB left and needs $2: free some, or move CIRRUS_STATE and CIRRUS_CACHE"
}

copy() { # FROM TO
  local error
  error=$(cp -a "$1" "$2" 2>&1) || die "cannot copy $1 to $2: ${error%%$'\n'*}"
}

# One line that says why the writer of LOG ended: what the platform's own program says at its end, a full disk and the like, another
# error, or its last line.
reason() { # LOG
  local end line
  end=$(tail -n 100 "$1" 2>/dev/null | tr -d '\0')
  line=$(tail -n 1 <<<"$end" | grep '^cirrus: ') || line=$(grep -i -E 'no space left|address already in use|cannot allocate memory|outofmemory' <<<"$end" | tail -n 1) ||
    line=$(grep -E '^(E|error|\[ERROR\])|FATAL|ERROR|Exception' <<<"$end" | tail -n 1) || line=$(tail -n 1 <<<"$end")
  printf '%s (%s)' "${line:-nothing}" "$1"
}
