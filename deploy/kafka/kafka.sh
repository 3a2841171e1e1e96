#!/bin/sh
# Runs a real Apache Kafka (KRaft, one process) from its jars, with the machine's java and mvn.
#
#   kafka.sh            fetch it if need be and run it in the foreground until it is interrupted
#   kafka.sh fetch      only fetch it
#   kafka.sh digests    fetch it unchecked and write jars.sha512: after a change of pom.xml
#
# Settings from the environment:
#   KAFKA_LISTEN        address for clients, default 127.0.0.1:9092; the controller takes the port after it
#   KAFKA_DATA          directory of the log, default DIR/data, where DIR is in the cache; it is kept
#   KAFKA_LISTENERS     further listeners, NAME://HOST:PORT with commas between, of the names in server.properties
#   KAFKA_PROPERTIES    file with further settings of the broker
#
# The jars go into a cache outside the work tree and are checked against jars.sha512 before they are renamed into place.
# Exit code 3: java or mvn is missing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's|^  <version>\(.*\)</version>$|\1|p' "$here/pom.xml")
home=${WAYMARK_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/waymark}/kafka-$version
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies

die() {
	echo "kafka: $*" >&2
	exit "${status:-1}"
}

# check_tools ends the script with code 3 where Kafka can't be run.
check_tools() {
	status=3
	command -v java >/dev/null 2>&1 || die "java is missing, which Kafka runs on: install a Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)"
	java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
	[ "${java:-0}" -ge 17 ] || die "java is version ${java:-unknown}, Kafka $version needs 17: install a newer one"
	[ -d "$home/libs" ] || command -v mvn >/dev/null 2>&1 || die "mvn is missing, which downloads Kafka: install Maven (Debian: apt-get install maven)"
	status=1
}

# show_progress says how much has arrived, of the plugins that Maven needs too; its own progress is a page of addresses.
show_progress() {
	while sleep 1; do
		printf '\r  %d of some 65 MB' "$(($(du -sk "$work/repository" 2>/dev/null | cut -f 1) / 1024))" >&2
	done
}

# download leaves the jars in $work/libs. Maven gets a repository of its own, which leaves nothing behind.
download() {
	mkdir -p "$home" 2>/dev/null || die "cannot create $home: choose another place with WAYMARK_CACHE"
	work=$(mktemp -d "$home/fetch.XXXXXX") || die "cannot write to $home: choose another place with WAYMARK_CACHE"
	progress=
	trap '[ -z "$progress" ] || kill "$progress" 2>/dev/null || :; rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	echo "Fetching Apache Kafka $version (44 MB, once) to $home" >&2
	if [ -t 2 ]; then
		show_progress &
		progress=$!
	fi
	mvn --batch-mode --quiet --file "$here/pom.xml" "-Dmaven.repo.local=$work/repository" \
		"$plugin" -DincludeScope=runtime "-DoutputDirectory=$work/libs" >"$work/log" 2>&1 ||
		{ cat "$work/log" >&2; die "mvn could not download Kafka $version: check the network and the mirrors in Maven's settings.xml, then try again"; }
	if [ -n "$progress" ]; then
		kill "$progress" 2>/dev/null || :
		progress=
		printf '\r%40s\r' '' >&2
	fi
}

fetch() {
	[ ! -d "$home/libs" ] || return 0
	download
	(cd "$work/libs" && sha512sum --check --quiet --strict "$here/jars.sha512" >&2) ||
		die "the jars are not those of jars.sha512: they were damaged on the way or replaced; nothing was installed"
	[ "$(find "$work/libs" -type f | wc -l)" -eq "$(wc -l <"$here/jars.sha512")" ] ||
		die "mvn downloaded jars that jars.sha512 does not know; nothing was installed"
	# Of two that fetch at once the second finds the place taken, by the same.
	mv -T "$work/libs" "$home/libs" 2>/dev/null || [ -d "$home/libs" ] || die "cannot put Kafka into $home"
}

# configure writes the settings and, the first time, prepares the directory.
configure() {
	listen=${KAFKA_LISTEN:-127.0.0.1:9092}
	data=${KAFKA_DATA:-$home/data}
	host=${listen%:*} port=${listen##*:}
	case $port in
	'' | *[!0-9]*) die "KAFKA_LISTEN is $listen, but must be HOST:PORT" ;;
	esac
	controller=$host:$((port + 1))
	mkdir -p "$data" || die "cannot create $data: choose another place with KAFKA_DATA"
	{
		cat "$here/server.properties"
		echo
		echo "listeners=PLAINTEXT://$listen,CONTROLLER://$controller${KAFKA_LISTENERS:+,$KAFKA_LISTENERS}"
		echo "controller.quorum.bootstrap.servers=$controller"
		echo "log.dirs=$data/log"
		[ -z "${KAFKA_PROPERTIES:-}" ] || cat "$KAFKA_PROPERTIES"
	} >"$data/server.properties"
	[ ! -f "$data/log/meta.properties" ] || return 0
	cluster=$(head -c 48 /dev/urandom | base64 | tr -d '+/=\n' | cut -c 1-22)
	java -cp "$home/libs/*" "-Dlog4j2.configurationFile=$here/log4j2.properties" "-Dkafka.log=$data/kafka.log" \
		kafka.tools.StorageTool format --standalone --cluster-id "$cluster" --config "$data/server.properties" >"$data/format.log" 2>&1 ||
		{ cat "$data/format.log" >&2; die "cannot prepare $data"; }
}

check_tools
case ${1:-run} in
fetch)
	fetch
	;;
digests)
	download
	(cd "$work/libs" && sha512sum -- *.jar) >"$here/jars.sha512"
	;;
run)
	fetch
	configure
	echo "Kafka $version on $listen, data and log in $data; stop it with Ctrl-C" >&2
	# The shell becomes Kafka, so that a signal to the one reaches the other.
	exec java -cp "$home/libs/*" -Xms128m -Xmx512m -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
		"-Dlog4j2.configurationFile=$here/log4j2.properties" "-Dkafka.log=$data/kafka.log" \
		kafka.Kafka "$data/server.properties"
	;;
*)
	die "unknown command $1: leave it out, or give fetch or digests"
	;;
esac
