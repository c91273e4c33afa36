# shellcheck shell=bash
# Sourced: processes that end with this one, their pid files, and ports.

# Starts COMMAND in the background, in a session of its own so that Ctrl-C reaches only this script, which stops things in order.
# When this script dies, however it dies, the kernel kills COMMAND. The pid file is there before COMMAND runs, so whatever survived
# can be found. LOG `-` is the terminal.
launch() { # PIDFILE LOG COMMAND...
  {
    local pidfile=$1 log=$2 fd
    shift 2
    # Locks are this script's alone.
    for fd in "/proc/$BASHPID/fd"/*; do
      fd=${fd##*/}
      if ((fd > 2 && fd < 255)); then exec {fd}>&-; fi
    done
    if [[ $log != - ]]; then exec >>"$log" 2>&1; fi
    write_pidfile "$pidfile"
    exec setsid setpriv --pdeathsig KILL "$BASH" -c "$launch_guard" "$$" "${launch_delay:-0}" "$@" </dev/null
  } &
  launched=$!
  wait_until 10 recorded "$1" "$launched" || die "cannot write $1: is the disk full?"
}

# Whoever died before the kernel was asked to watch him is noticed by his child here.
# shellcheck disable=SC2016 # expanded by the new process
launch_guard='[[ $PPID == "$0" ]] || exit; [[ $1 == 0 ]] || sleep "$1"; shift; exec "$@"'

write_pidfile() { # PIDFILE
  local start_time
  read_start_time "$BASHPID"
  echo "$BASHPID $start_time" >"$1"
}

# Whether PIDFILE is that of PID, or PID has ended already.
recorded() { # PIDFILE PID
  local pid='' start_time
  { read -r pid _ <"$1"; } 2>/dev/null || true
  read_start_time "$2"
  [[ $pid == "$2" || -z $start_time ]]
}

# Sets `start_time` to when the process started, in clock ticks since boot, which with the pid names one process for ever; to nothing
# for a dead one. Without a new process, because it is asked many times a second.
read_start_time() { # PID
  local stat fields tasks
  start_time=''
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  read -ra fields <<<"${stat##*) }"
  # The first thread of a dying process is a zombie while the others still hold its sockets and files.
  tasks=("/proc/$1/task"/*)
  if [[ ${fields[0]} != Z ]] || ((${#tasks[@]} > 1)); then start_time=${fields[19]}; fi
}

# Whether the process of PIDFILE lives; a pid that meanwhile belongs to another process does not count.
# Some kernels compute the start time anew at each reading and are off by a tick, so a second of difference is none.
alive() { # PIDFILE
  local pid started start_time
  { read -r pid started <"$1"; } 2>/dev/null || return 1
  read_start_time "$pid"
  [[ -n $started && -n $start_time ]] && ((start_time - started < 100 && started - start_time < 100))
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
