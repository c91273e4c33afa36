# shellcheck shell=bash
# Sourced by dev/run: which processes the platform is made of on one machine, and what they are told.
# Expects `state`, `binaries`, `offset` and `trace`.

api_port=$((7080 + offset))
decider_port=$((7081 + offset))
projector_port=$((7082 + offset))
provider_port=$((7090 + offset))
kafka_port=$((7092 + offset))
controller_port=$((7093 + offset))
postgres_port=$((7432 + offset))

api=http://127.0.0.1:$api_port
projector=http://127.0.0.1:$projector_port
configuration=$state/cirrus.toml
tokens=$state/tokens.json
zones=(zone-a zone-b)

# Machines take as long as measured ones where the measurements are at hand; in a trace the provider answers at once.
latencies=()
durations=${CIRRUS_DATA:-$repository/../shared/data}/openstack_operation_durations.csv
if ! $trace && [[ -r $durations ]]; then latencies=(--latencies "$durations"); fi

# In the order in which they start; they stop the other way round.
roles=(kafka postgres provider-sim decider projector worker-regional)
for zone in "${zones[@]}"; do roles+=("worker-$zone"); done
roles+=(api)

need_ports() {
  need_port "$kafka_port" Kafka
  need_port "$controller_port" "Kafka's controller"
  need_port "$postgres_port" PostgreSQL
  need_port "$provider_port" "the simulated provider"
  need_port "$decider_port" "the decider"
  need_port "$projector_port" "the projector"
  need_port "$api_port" "the API"
}

write_configuration() {
  local zone_list
  printf -v zone_list '"%s", ' "${zones[@]}"
  cat >"$configuration" <<CONFIGURATION
# Written by dev/run at each start.
state = "$state"

[kafka]
bootstrap = "127.0.0.1:$kafka_port"

[postgres]
url = "postgresql://postgres@127.0.0.1:$postgres_port/cirrus"

[decider]
listen = "127.0.0.1:$decider_port"

[projector]
listen = "127.0.0.1:$projector_port"

[worker]
provider = "http://127.0.0.1:$provider_port"
region = "region-1"

[api]
listen = "127.0.0.1:$api_port"
position_key_files = ["$state/keys/position.key"]
master_key_file = "$state/keys/master.key"
deciders = ["http://127.0.0.1:$decider_port"]

[[api.issuers]]
issuer = "urn:cirrus:development"
audience = "cirrus"
source = { file = "$state/keys/jwks.json" }
scope = "platform"

[development]
issuer = "urn:cirrus:development"
audience = "cirrus"
private_key_file = "$state/keys/issuer.pem"
jwks_file = "$state/keys/jwks.json"
tokens_file = "$tokens"
zones = [${zone_list%, }]
CONFIGURATION
}

cirrus() { # LOG COMMAND...
  local log=$1
  shift
  task "$log" "$binaries/cirrus" --config "$configuration" "$@"
}

create_journal() {
  local log
  log=$(role_log journal)
  cirrus "$log" journal create --partitions 8 --replication 1 --min-insync-replicas 1 || die "no journal: $(reason "$log")"
}

# The API reads the public key of the development issuer when it starts.
draw_keys() { cirrus /dev/null token nobody || die "no keys in $state/keys: $binaries/cirrus --config $configuration token nobody says why"; }

role_start() { # ROLE
  local role=$1
  case $role in
  kafka) kafka_launch "$state/kafka" ;;
  postgres)
    postgres_prepare "$state/postgres"
    postgres_launch "$state/postgres" "$postgres_port"
    ;;
  provider-sim) role_launch "$role" provider-sim --state "$state/provider" --listen "127.0.0.1:$provider_port" "${latencies[@]}" ;;
  worker-regional) role_launch "$role" worker --regional ;;
  worker-*) role_launch "$role" worker --zone "${role#worker-}" ;;
  *) role_launch "$role" "$role" ;;
  esac
  # So that the shell does not tell of its end; `supervise` does.
  disown "$launched"
}

role_stop() { # ROLE
  case $1 in
  kafka) kafka_stop "$state/kafka" ;;
  postgres) postgres_stop "$state/postgres" ;;
  *) stop "$(role_pidfile "$1")" TERM 3 ;;
  esac
}

role_launch() { # ROLE ARGUMENT...
  local role=$1
  shift
  launch "$(role_pidfile "$role")" "$(role_log "$role")" "$binaries/cirrus" --config "$configuration" "$@"
}
