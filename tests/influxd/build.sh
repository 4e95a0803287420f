#!/bin/sh
# Build influxd, pinned by the go.mod and go.sum beside this script, into .cache/influxd/influxd. Needs Go, Rust (by
# rustup), a C compiler, pkg-config. About four minutes on two cores, once. Prints the path of the program.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/.cache/influxd
program=$out/influxd

for tool in go rustup cc pkg-config; do
    command -v "$tool" >/dev/null || { echo "influxd needs $tool to be built: install it" >&2; exit 1; }
done
mkdir -p "$out"

# a build is good for one go.sum: a new version is a new file there
stamp=$(cksum <"$here/go.sum")
if [ -x "$program" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "$program"
    exit 0
fi

# the module pins a Rust of its own, which rustup would try to fetch: take the stable one that is installed
RUSTUP_TOOLCHAIN=$(rustup toolchain list | sed -n 's/^\(stable[^ ]*\).*/\1/p' | head -n 1)
[ -n "$RUSTUP_TOOLCHAIN" ] || { echo "rustup has no stable toolchain: rustup toolchain install stable" >&2; exit 1; }

# lints of newer compilers are errors in its Rust code, and RUSTFLAGS does not reach all of it
printf '#!/bin/sh\nexec "$@" --cap-lints=warn\n' >"$out/rustc-wrap"
chmod +x "$out/rustc-wrap"

cd "$here"
# its C bindings ask pkg-config for libflux: this one builds it
GOBIN=$out go install github.com/influxdata/pkg-config@v0.3.0
export RUSTUP_TOOLCHAIN CGO_ENABLED=1 PKG_CONFIG="$out/pkg-config" RUSTC_WORKSPACE_WRAPPER="$out/rustc-wrap"
go build -mod=readonly -tags sqlite_foreign_keys,sqlite_json -o "$program.new" github.com/influxdata/influxdb/v2/cmd/influxd
mv "$program.new" "$program"
echo "$stamp" >"$out/stamp"
echo "$program"
