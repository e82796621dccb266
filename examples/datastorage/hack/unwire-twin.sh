#!/bin/sh
# Makes the un-wired twin of this tree: the same service and the same tests as
# they were before anybody measured coverage. Usage: hack/unwire-twin.sh DIR
#
# What belongs to coverage is
#   - whole files: see the list below;
#   - regions between lines with "coverage wiring: begin" and "... end";
#   - one word in the middle of the Dockerfile's build command.
# The result must not mention coverage any more, which is checked at the end.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR (it must not exist yet)" >&2
    exit 2
fi
source=$(cd "$(dirname "$0")/.." && pwd)
twin=$1
mkdir "$twin"
twin=$(cd "$twin" && pwd)

cd "$source"
find . -type f \
    ! -path './hack/*' \
    ! -path './test/twin/*' \
    ! -path './coverdata/*' \
    ! -path './bin/*' \
    ! -name 'coverage*.go' \
    ! -name 'coverage*.txt' \
    ! -name 'README.md' \
    -print |
while IFS= read -r file; do
    mkdir -p "$twin/$(dirname "$file")"
    awk -v file="$file" '
        /coverage wiring: begin/ { if (inside) exit 3; inside = 1; next }
        /coverage wiring: end/   { if (!inside) exit 3; inside = 0; next }
        !inside                  { print }
        END                      { if (inside) exit 3 }
    ' "$file" > "$twin/$file" || {
        echo "$0: $file: begin and end of the coverage wiring do not pair" >&2
        exit 1
    }
    if [ -x "$file" ]; then
        chmod +x "$twin/$file"
    fi
done

dockerfile=$twin/docker/data-storage.Dockerfile
sed 's/ GOFLAGS=\${GOFLAGS} go build / go build /' "$dockerfile" > "$dockerfile.new"
if cmp -s "$dockerfile" "$dockerfile.new"; then
    echo "$0: the build command in docker/data-storage.Dockerfile does not use GOFLAGS" >&2
    exit 1
fi
mv "$dockerfile.new" "$dockerfile"

if grep -rnEi 'goflags|gocoverdir|coverdata|e2e_coverage|-cover\b|covdata|coverage' "$twin"; then
    echo "$0: the lines above still belong to coverage" >&2
    exit 1
fi
