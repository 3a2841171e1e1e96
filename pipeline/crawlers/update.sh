#!/bin/sh
# Fetches a release of the npm package crawler-user-agents (MIT, see LICENSE)
# and puts its list here, unchanged. Usage: sh update.sh [VERSION]
set -eu
version=${1:-1.60.0}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "crawler-user-agents@$version" >/dev/null
tar xzf "crawler-user-agents-$version.tgz"
cp package/crawler-user-agents.json package/LICENSE "$here/"
echo "crawler-user-agents $version: run the tests of package pipeline before you commit it" >&2
