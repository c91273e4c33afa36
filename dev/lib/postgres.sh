# shellcheck shell=bash
# Sourced: one PostgreSQL server, with everything it keeps in one directory.
# DIRECTORY/data is its cluster, DIRECTORY/pid who runs it, DIRECTORY/server.log what it says.

# PostgreSQL refuses to run as root: then it runs as this user, who may enter root's directories where the machine allows that.
postgres_as=()
if ((UID == 0)); then
  postgres_as=(setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups)
  enter=(--inh-caps +dac_read_search --ambient-caps +dac_read_search)
  if "${postgres_as[@]}" "${enter[@]}" true 2>/dev/null; then postgres_as+=("${enter[@]}"); fi
fi

# A cluster, for every server to begin with a copy of it: database `cirrus`, user `postgres` without a password from this machine.
make_postgres_template() { # NEW-DIRECTORY
  local log=$cache/initdb.log
  mkdir -m 700 "$1"
  postgres_owns "$1"
  {
    # The built-in locale sorts by code point on every machine alike.
    postgres_program initdb --pgdata "$1" --username postgres --auth trust --encoding UTF8 \
      --locale C --locale-provider builtin --builtin-locale C.UTF-8 --no-instructions &&
      postgres_program postgres --single -D "$1" postgres <<STATEMENTS
CREATE DATABASE cirrus
CREATE ROLE $secured_user LOGIN PASSWORD '$secured_password'
STATEMENTS
  } >"$log" 2>&1 || die "PostgreSQL cannot make its data in $1: $(reason "$log")"
}

# Makes the cluster when there is none. `secured`: the user $secured_user needs TLS and a password, nobody else gets in but `postgres`.
postgres_prepare() { # DIRECTORY [secured]
  local directory=$1 new=$1/data.new
  mkdir -p "$directory"
  "${postgres_as[@]}" stat "$servers/postgres/bin/." "$directory/." >/dev/null 2>&1 ||
    die "PostgreSQL will not run as root and nobody may not enter $servers or $directory: move CIRRUS_CACHE and CIRRUS_STATE"
  if [[ ! -d $directory/data ]]; then
    rm -rf "$new"
    copy "$servers/postgres-template" "$new"
    if [[ ${2:-} == secured ]]; then
      make_certificates "$directory/tls"
      printf '%s\n' "hostssl all $secured_user 127.0.0.1/32 scram-sha-256" 'hostnossl all postgres 127.0.0.1/32 trust' >"$new/pg_hba.conf"
      install -m 600 "$directory/tls/server.pem" "$new/server.pem"
      postgres_owns "$new/server.pem"
    fi
    mv "$new" "$directory/data"
  fi
  forget_stale_postmaster "$directory"
}

postgres_program() { # PROGRAM ARGUMENT...
  local path=$servers/postgres/bin/$1
  shift
  # From / because nobody may not enter every working directory.
  (cd / && "${postgres_as[@]}" "$path" "$@")
}

postgres_owns() { ((UID != 0)) || chown nobody "$1"; } # PATH

# PostgreSQL takes any living process with the pid in its lock file for itself, even one that got the number after a crash.
forget_stale_postmaster() { # DIRECTORY
  local pid lock=$1/data/postmaster.pid
  { read -r pid <"$lock"; } 2>/dev/null || return 0
  [[ $(readlink "/proc/$pid/exe") == "$servers/postgres/bin/postgres" ]] || rm -f "$lock"
}

# [OPTION...] go to the server, for example `-c fsync=off` for data that is thrown away.
postgres_launch() { # DIRECTORY PORT [OPTION...]
  local directory=$1 port=$2
  shift 2
  local options=(-D "$directory/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200)
  if [[ -f $directory/data/server.pem ]]; then options+=(-c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.pem); fi
  # Asked for again because a change of user makes the kernel forget it. QUIT: the server ends its children and frees its memory, at
  # once; KILL would leave a segment of shared memory.
  launch "$directory/pid" "$directory/server.log" \
    "${postgres_as[@]:-setpriv}" --pdeathsig QUIT "$servers/postgres/bin/postgres" "${options[@]}" "$@"
}

# The lock file's last line says when connections are taken.
postgres_wait() { # DIRECTORY
  wait_until 120 postgres_ready_or_dead "$1" && alive "$1/pid" || die "PostgreSQL does not start: $(reason "$1/server.log")"
}

postgres_ready_or_dead() { grep -qs '^ready' "$1/data/postmaster.pid" || dead "$1/pid"; } # DIRECTORY

# INT: rolls back what is open, writes a checkpoint and ends.
postgres_stop() { stop "$1/pid" INT 15; } # DIRECTORY
postgres_kill() { stop "$1/pid" QUIT 5; } # DIRECTORY
