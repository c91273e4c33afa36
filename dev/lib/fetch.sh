# shellcheck shell=bash
# Sourced: Kafka and PostgreSQL from Maven into the cache, checked against the pinned digests of maven/jars.sha256.

cache=${CIRRUS_CACHE:-$repository/.cirrus/cache}
manifest=$repository/dev/maven/jars.sha256
# Named by its content: what another version of the manifest fetched is never mistaken for this one.
servers=$cache/servers-$(sha256sum "$manifest" | cut -c 1-12)

# Fetches what is not there. Two at once wait for each other; one that is killed leaves nothing that looks complete.
fetch_servers() {
  need java=default-jre-headless mvn=maven unzip=unzip xz=xz-utils openssl=openssl
  need_java
  mkdir -p "$cache"
  local lock
  exec {lock}>"$cache/lock"
  flock "$lock"
  [[ -d $servers ]] || fetch_jars
  [[ -f $(kafka_archive) ]] || make_kafka_archive
  exec {lock}>&-
}

need_java() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
  ((${version:-0} >= 17)) || die "Kafka needs Java 17 or newer and this is ${version:-of unknown version}: install openjdk-17-jre-headless"
}

fetch_jars() {
  local new=$cache/servers.new log=$cache/fetch.log
  need_space "$cache" 1024
  say "fetching Kafka and PostgreSQL"
  rm -rf "$new"
  mkdir -p "$new/jars" "$new/postgres"
  rm -f "$log"
  launch "$cache/fetch.pid" "$log" mvn --quiet --batch-mode --file "$repository/dev/maven/pom.xml" \
    "-Dmaven.repo.local=${MAVEN_REPO:-$cache/maven}" dependency:copy-dependencies "-DoutputDirectory=$new/jars"
  wait "$launched" ||
    die "Maven could not fetch the servers: $(reason "$log")"
  check_digests "$new/jars"
  unzip -p "$new"/jars/embedded-postgres-binaries-*.jar '*.txz' | tar --extract --xz --directory "$new/postgres" ||
    die "cannot unpack PostgreSQL into $new"
  make_templates
  mv "$new" "$servers"
}

# With the servers at the place that they are about to be moved from.
make_templates() {
  local servers=$cache/servers.new
  make_kafka_template "$servers/kafka-template"
  make_postgres_template "$servers/postgres-template"
}

check_digests() { # DIRECTORY
  local wrong
  wrong=$(cd "$1" && diff <(sha256sum -- *.jar) "$manifest" | sed -n 's/^[<>] [0-9a-f]*  //p' | sort -u | tr '\n' ' ') || true
  [[ -z $wrong ]] || die "not what dev/maven/jars.sha256 lists, nothing of it is used: ${wrong% }"
}
