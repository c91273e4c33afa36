#!/usr/bin/env bash
# Kafka's own measuring tool for producers, of the same version as the broker. It is fetched when it is asked for the first time; the
# rest of its class path are the broker's own jars.
#
#   bash dev/lib/producer-performance.sh ARGUMENT...     as `kafka-producer-perf-test.sh` takes them
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/all.sh"

fetch_servers
broker=("$servers"/jars/kafka_2.13-*.jar)
version=${broker[0]##*-}
version=${version%.jar}
tools=$cache/kafka-tools-$version
if [[ ! -d $tools ]]; then
  rm -rf "$tools.new"
  mvn --quiet --batch-mode "-Dmaven.repo.local=${MAVEN_REPO:-$cache/maven}" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    "-Dartifact=org.apache.kafka:kafka-tools:$version" "-DoutputDirectory=$tools.new" >"$cache/kafka-tools.log" 2>&1 ||
    die "Maven could not fetch kafka-tools $version: $(reason "$cache/kafka-tools.log")"
  mv "$tools.new" "$tools"
fi
jars=("$tools"/*.jar)
exec java -Xmx512m "-Dlog4j2.configurationFile=$repository/dev/lib/log4j2.properties" -cp "$(kafka_classpath):${jars[0]}" \
  org.apache.kafka.tools.ProducerPerformance "$@"
