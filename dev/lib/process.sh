# Sourced: processes that end with this one, their pid files, and ports.

# Starts COMMAND in the background, in a session of its own so that Ctrl-C reaches only this script, which stops things in order.
# The kernel sends it $death_signal (KILL unless set; "clear": nothing) when this script dies, however it dies.
# The pid file is there before COMMAND runs, so whatever survived can be found.
launch() { # PIDFILE LOG COMMAND...
  {
    local pidfile=$1 log=$2 fd
    shift 2
    # Locks are this script's alone.
    for fd in "/proc/$BASHPID/fd"/*; do
      fd=${fd##*/}
      if ((fd > 2 && fd < 255)); then exec {fd}>&-; fi
    done
    echo "$BASHPID $(start_time "$BASHPID")" >"$pidfile"
    exec setsid setpriv --pdeathsig "${death_signal:-KILL}" "$@" >>"$log" 2>&1 </dev/null
  } &
  launched=$!
  wait_until 10 recorded "$1" "$launched" || die "cannot write $1"
}

# Whether PIDFILE is that of PID, or PID has ended already.
recorded() { # PIDFILE PID
  local pid
  { read -r pid _ <"$1"; } 2>/dev/null || true
  [[ ${pid:-} == "$2" || -z $(start_time "$2") ]]
}

# When the process started, in clock ticks since boot: with the pid it names one process for ever. Nothing for a dead one.
start_time() { # PID
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} == Z ]] || echo "${fields[19]}"
}

# Whether the process of PIDFILE lives; a pid that meanwhile belongs to another process does not count.
# Some kernels compute the start time anew at each reading and are off by a tick, so a second of difference is none.
alive() { # PIDFILE
  local pid started now
  { read -r pid started <"$1"; } 2>/dev/null || return 1
  now=$(start_time "$pid")
  [[ -n $started && -n $now ]] && ((now - started < 100 && started - now < 100))
}

dead() { ! alive "$1"; }

# Ends the process of PIDFILE: SIGNAL, and KILL to its whole group if it has not ended after SECONDS.
stop() { # PIDFILE SIGNAL SECONDS
  local pid
  if alive "$1"; then
    read -r pid _ <"$1"
    # The shell says nothing about the end of what is not its job any more.
    disown "$pid" 2>/dev/null || true
    kill "-$2" "$pid" 2>/dev/null || true
    if ! wait_until "$3" dead "$1"; then
      kill -KILL -- "-$pid" "$pid" 2>/dev/null || true
      wait_until 10 dead "$1" || die "process $pid cannot be killed"
    fi
  fi
  rm -f "$1"
}

listening() { (exec {_}<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

need_port() { # PORT WHAT-FOR
  listening "$1" || return 0
  local owner
  owner=$(ss -Htlnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (pid \2)/p' | head -n 1) || true
  die "port $1, for $2, is taken by ${owner:-another program}: stop it, or shift all ports with --port-offset"
}

# Sets `ports` to COUNT free ports that no other holder of this function gets while this process lives: each is a locked file.
# They lie below those that the kernel gives to outgoing connections.
claim_ports() { # COUNT
  local directory=/tmp/cirrus-ports.$UID port fd
  mkdir -p "$directory"
  ports=()
  for port in $(shuf -i 21000-21999); do
    exec {fd}>"$directory/$port"
    if flock --nonblock "$fd" && ! listening "$port"; then ports+=("$port"); else exec {fd}>&-; fi
    if ((${#ports[@]} == $1)); then return; fi
  done
  die "no free port between 21000 and 21999"
}
