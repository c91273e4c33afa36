# shellcheck shell=bash
# Sourced: one Kafka broker that is its own controller, with everything it keeps in one directory.
# DIRECTORY/data is its log, DIRECTORY/pid who runs it, DIRECTORY/server.log what it says.
# A cluster is three such brokers, all controllers too, each in DIRECTORY/1, /2 and /3.

# One heap for all machines that develop Cirrus; collections must not show in latencies.
kafka_java=(java -Xms128m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData
  -Djava.awt.headless=true "-Dlog4j2.configurationFile=$repository/dev/lib/log4j2.properties")

# The classes that a broker loads, prepared for this JVM: it starts in about half the time.
kafka_archive() { echo "$servers/kafka-$(java -version 2>&1 | sha256sum | cut -c 1-12).jsa"; }

# A class path by explicit, sorted names: the archive is only used with the one that it was made with.
kafka_classpath() {
  local jars=("$servers"/jars/*.jar)
  (IFS=: && echo "${jars[*]}")
}

make_kafka_archive() {
  local directory=$cache/archive.new archive ports
  archive=$(kafka_archive)
  say "preparing the Java classes of Kafka"
  rm -rf "$directory"
  claim_ports 2
  kafka_prepare "$directory" "${ports[@]}"
  kafka_launch "$directory" "-XX:ArchiveClassesAtExit=$directory/archive.jsa"
  kafka_wait "$directory"
  # It writes the archive as its last act.
  stop "$directory/pid" TERM 120
  # An archive only saves time: where a JVM cannot make one, an empty file says so once and for all.
  [[ -f $directory/archive.jsa ]] || : >"$directory/archive.jsa"
  mv "$directory/archive.jsa" "$archive"
  rm -rf "$directory"
}

# A formatted log directory, for every broker to begin with a copy of it, because formatting takes as long as half a start.
make_kafka_template() { # NEW-DIRECTORY
  local settings=$cache/format.properties log=$cache/format.log
  kafka_settings "$cache" 1 2 PLAINTEXT | sed "s|^log.dirs=.*|log.dirs=$1|" >"$settings"
  kafka_run kafka.tools.StorageTool format --cluster-id "$(random_kafka_id)" --config "$settings" \
    --add-scram "SCRAM-SHA-512=[name=$secured_user,password=$secured_password]" >"$log" 2>&1 || die "Kafka cannot format $1: $(reason "$log")"
}

# Writes the settings, and makes the log directory when there is none. `secured`: clients need TLS and a password.
kafka_prepare() { # DIRECTORY PORT CONTROLLER-PORT [secured]
  local directory=$1 listener=PLAINTEXT
  mkdir -p "$directory"
  if [[ ${4:-} == secured ]]; then
    listener=SASL_SSL
    make_certificates "$directory/tls"
  fi
  kafka_settings "$directory" "$2" "$3" "$listener" >"$directory/server.properties"
  if [[ ! -d $directory/data ]]; then
    rm -rf "$directory/data.new"
    copy "$servers/kafka-template" "$directory/data.new"
    sed -i "s/^cluster.id=.*/cluster.id=$(random_kafka_id)/" "$directory/data.new/meta.properties"
    mv "$directory/data.new" "$directory/data"
  fi
}

# A UUID in Kafka's spelling; some that begin with A or - are reserved or look like an option.
random_kafka_id() { echo "c$(head -c 18 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-20)A"; }

kafka_settings() { # DIRECTORY PORT CONTROLLER-PORT LISTENER
  cat <<SETTINGS
process.roles=broker,controller
node.id=1
listeners=$4://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=$4://127.0.0.1:$2
inter.broker.listener.name=$4
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:$3
log.dirs=$1/data
# A journal: nothing is deleted by time or size, and no topic appears because somebody misspelt it.
log.retention.ms=-1
log.retention.bytes=-1
auto.create.topics.enable=false
unclean.leader.election.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A killed broker is let in again when the session of its former life has ended, after 9 s unless said otherwise.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# A machine with two cores.
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=2097152
SETTINGS
  if [[ $4 == SASL_SSL ]]; then
    cat <<SETTINGS
ssl.keystore.type=PEM
ssl.keystore.location=$1/tls/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=$1/tls/ca.pem
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$secured_user" password="$secured_password";
SETTINGS
  fi
}

# Three brokers, three copies of what they keep for themselves. Each has a listener more, DETOUR, which tells its clients to come by
# another port: whoever owns that port sees, delays and cuts what they say.
kafka_cluster_prepare() { # DIRECTORY (PORT CONTROLLER-PORT DETOUR-PORT ADVERTISED-DETOUR-PORT) x 3
  local directory=$1 id cluster voters
  shift
  cluster=$(random_kafka_id)
  voters=1@127.0.0.1:$2,2@127.0.0.1:$6,3@127.0.0.1:${10}
  for id in 1 2 3; do
    kafka_prepare "$directory/$id" "$1" "$2"
    sed -i "s/^cluster.id=.*/cluster.id=$cluster/; s/^node.id=.*/node.id=$id/; s/^directory.id=.*/directory.id=$(random_kafka_id)/" \
      "$directory/$id/data/meta.properties"
    sed -i "s/^node.id=.*/node.id=$id/; s/^controller.quorum.voters=.*/controller.quorum.voters=$voters/
      s|^listeners=.*|&,DETOUR://127.0.0.1:$3|; s|^advertised.listeners=.*|&,DETOUR://127.0.0.1:$4|
      s|^listener.security.protocol.map=.*|&,DETOUR:PLAINTEXT|
      s/replication.factor=1/replication.factor=3/; s/min.isr=1/min.isr=2/" "$directory/$id/server.properties"
    shift 4
  done
}

kafka_options() {
  local archive
  archive=$(kafka_archive)
  options=(-cp "$(kafka_classpath)" -Xshare:auto)
  if [[ -s $archive ]]; then options+=("-XX:SharedArchiveFile=$archive"); fi
}

kafka_run() { # [JVM-OPTION...] CLASS ARGUMENT...
  local options
  kafka_options
  "${kafka_java[@]}" "${options[@]}" "$@"
}

kafka_launch() { # DIRECTORY [JVM-OPTION...]
  local directory=$1 options
  shift
  kafka_options
  launch "$directory/pid" "$directory/server.log" "${kafka_java[@]}" "${options[@]}" "$@" kafka.Kafka "$directory/server.properties"
}

kafka_wait() { # DIRECTORY
  local port
  port=$(sed -n 's|^listeners=.*//127.0.0.1:\([0-9]*\),.*|\1|p' "$1/server.properties")
  wait_until 120 answers_or_dead "$1/pid" "$port" && alive "$1/pid" || die "Kafka does not start: $(reason "$1/server.log")"
}

answers_or_dead() { listening "$2" || dead "$1"; } # PIDFILE PORT

kafka_stop() { stop "$1/pid" TERM 15; } # DIRECTORY
kafka_kill() { stop "$1/pid" KILL 1; }  # DIRECTORY
