#!/bin/sh
# Fetches the embedded ClickHouse engine, libchdb.so, into a cache outside the work tree and prints its path. Does nothing
# when there is one already: $CHDB_LIB_PATH, the cache, or an installed one (the same places as engine.FindLibrary).
#
# The package is checked against the digest below before anything is unpacked, and the library is renamed into place, so
# that what lies there is always whole. Two of these at the same time do the work twice and agree on the result.
set -eu

version=26.5.3
package=@chdb/lib-linux-x64-gnu
# sha512 of the package's tarball in hexadecimal; `npm view` shows the same in base64.
digest=7cfacb991b79328a2bf721b3e266b36eb3637b8b7b5fd281da64c6917156471441b3688acbcca1ea3c75d71b1ad10af788314c53fc87a9df9b55d6095eedd069
tarball_bytes=175000000

die() {
	echo "fetch-library: $*" >&2
	exit 1
}

cache=${WAYMARK_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/waymark}
home=$cache/chdb-$version
if [ -n "${CHDB_LIB_PATH:-}" ]; then
	[ -f "$CHDB_LIB_PATH" ] || die "CHDB_LIB_PATH names $CHDB_LIB_PATH, which is not a file"
	echo "$CHDB_LIB_PATH"
	exit 0
fi
for library in "$home/libchdb.so" /usr/local/lib/libchdb.so /usr/lib/libchdb.so; do
	if [ -f "$library" ]; then
		echo "$library"
		exit 0
	fi
done

platform=$(uname -s)/$(uname -m)
[ "$platform" = Linux/x86_64 ] ||
	die "the embedded engine is not published for $platform: use a ClickHouse server of your own with --clickhouse"
command -v npm >/dev/null 2>&1 ||
	die "npm is missing, which downloads the embedded engine: install it (Debian: apt-get install npm), or set CHDB_LIB_PATH to a libchdb.so $version"
command -v sha512sum >/dev/null 2>&1 || die "sha512sum is missing: install coreutils"

mkdir -p "$home" 2>/dev/null || die "cannot create $home: choose another place with WAYMARK_CACHE"
free_kilobytes=$(df -Pk "$home" | awk 'NR == 2 { print $4 }')
[ "$free_kilobytes" -gt 800000 ] || die "$home has $((free_kilobytes / 1024)) MB free, the engine needs 800: free some, or choose another place with WAYMARK_CACHE"

# What a killed run has left behind is large; an hour is longer than any living one takes.
find "$home" -maxdepth 1 -name 'fetch.*' -mmin +60 -exec rm -rf {} + 2>/dev/null || :
work=$(mktemp -d "$home/fetch.XXXXXX") || die "cannot write to $home: choose another place with WAYMARK_CACHE"
progress=
cleanup() {
	[ -z "$progress" ] || kill "$progress" 2>/dev/null || :
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# npm downloads a package into its own cache before it writes the tarball, so what has arrived is measured there.
show_progress() {
	start=$(du -sk "$work/npm" 2>/dev/null | cut -f1)
	while sleep 1; do
		now=$(du -sk "$work/npm" 2>/dev/null | cut -f1)
		done_mb=$(((${now:-0} - ${start:-0}) / 1024))
		total_mb=$((tarball_bytes / 1048576))
		[ "$done_mb" -le "$total_mb" ] || done_mb=$total_mb
		printf '\r  %d of %d MB' "$done_mb" "$total_mb" >&2
	done
}

echo "Fetching the embedded ClickHouse engine (chdb $version, $((tarball_bytes / 1048576)) MB, once) to $home" >&2
mkdir "$work/npm"
if [ -t 2 ]; then
	show_progress &
	progress=$!
fi
(cd "$work" && npm pack --silent --cache "$work/npm" "$package@$version") >"$work/name" 2>"$work/log" || {
	[ -z "$progress" ] || echo >&2
	cat "$work/log" >&2
	die "npm could not download $package@$version: check the network and 'npm config get registry', then run make again"
}
if [ -n "$progress" ]; then
	kill "$progress" 2>/dev/null || :
	wait "$progress" 2>/dev/null || :
	progress=
	printf '\r%40s\r' '' >&2
fi
tarball=$work/$(tail -n 1 "$work/name")
[ -f "$tarball" ] || die "npm wrote no package: run 'npm pack $package@$version' to see why"

echo "Checking and unpacking it" >&2
actual=$(sha512sum <"$tarball" | cut -d ' ' -f 1)
[ "$actual" = "$digest" ] ||
	die "the package has the digest $actual, not the expected $digest: it was damaged on the way or replaced; nothing was installed"
rm -rf "$work/npm"
tar -xmzf "$tarball" -C "$work" package/libchdb.so || die "cannot unpack the engine in $home: is the disk full?"
chmod 644 "$work/package/libchdb.so"
mv -f "$work/package/libchdb.so" "$home/libchdb.so" || die "cannot put the engine into $home"
echo "$home/libchdb.so"
