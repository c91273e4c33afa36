# shellcheck shell=bash
# Sourced: the roles of the platform as processes that are started again when they die.
# Expects `state`, and a function `role_start ROLE`.

declare -A role_deaths=() role_since=()

role_pidfile() { # ROLE
  case $1 in
  kafka | postgres) echo "$state/$1/pid" ;;
  *) echo "$state/run/$1.pid" ;;
  esac
}

role_log() { # ROLE
  case $1 in
  kafka | postgres) echo "$state/$1/server.log" ;;
  *) echo "$state/log/$1.log" ;;
  esac
}

# Starts what has died again: at once the first time, later the more often the later, and at once again after half a minute of life.
restart_dead() { # ROLE...
  local role deaths launch_delay
  for role in "$@"; do
    if alive "$(role_pidfile "$role")"; then continue; fi
    deaths=${role_deaths[$role]:-0}
    if ((SECONDS - ${role_since[$role]:-0} > 30)); then deaths=0; fi
    launch_delay=$((deaths < 5 ? deaths : 5))
    role_deaths[$role]=$((deaths + 1))
    role_since[$role]=$SECONDS
    say "$role has ended; last it said: $(reason "$(role_log "$role")"); starting it again$( ((launch_delay == 0)) || echo " in $launch_delay s")"
    role_start "$role"
  done
}

# Of a start that cannot succeed, the reason.
die_of_repeated_deaths() { # ROLE...
  local role
  for role in "$@"; do
    ((${role_deaths[$role]:-0} < 3)) || die "$role does not start: $(reason "$(role_log "$role")")"
  done
}

# The last run's logs are kept under another name.
rotate_logs() {
  local log
  for log in "$state"/log/*.log "$state"/{kafka,postgres}/server.log; do
    if [[ -f $log && $log != *.previous.log ]]; then mv -f "$log" "${log%.log}.previous.log"; fi
  done
}
