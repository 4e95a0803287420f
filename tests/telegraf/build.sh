#!/bin/sh
# Build Telegraf, the peer that `make bench` measures against, into .cache/telegraf/telegraf: of its 300 plugins only the
# ones that are compared, without C, as its vendor builds it. Needs Go; a minute or two, once. Prints the program's path.
set -eu

version=v1.39.3
tags=custom,inputs.mqtt_consumer,outputs.influxdb_v2,parsers.json,parsers.json_v2

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/.cache/telegraf
program=$out/telegraf

command -v go >/dev/null || { echo "telegraf needs go to be built: install it" >&2; exit 1; }
mkdir -p "$out"

# a build is good for one version and one choice of plugins
stamp="$version $tags"
if [ -x "$program" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "$program"
    exit 0
fi

# outside any module: the version's own go.mod pins what it is made of, the checksum database vouches for it
cd "$out"
GOBIN=$out CGO_ENABLED=0 GOFLAGS=-mod=mod go install -trimpath -ldflags '-s -w' -tags "$tags" \
    "github.com/influxdata/telegraf/cmd/telegraf@$version"
echo "$stamp" >"$out/stamp"
echo "$program"
