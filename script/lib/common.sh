# Sourced by the scripts beside this folder; not run by itself.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

# say TEXT: one line to the person in front of the terminal.
say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

# fail TEXT: says it and ends the script.
fail() {
  say "$*"
  exit 1
}

# require_swift: ends the script, saying where to get it, when there is no Swift toolchain.
require_swift() {
  command -v swift >/dev/null || fail "no swift in PATH: install Swift 6.2 or later from https://www.swift.org/install"
}

# build_release: the program as it is shipped. On Linux with Swift's own libraries in it, so that it runs on machines
# without the toolchain.
build_release() {
  local flags=(-c release --product mid)
  [[ $(uname -s) == Linux ]] && flags+=(--static-swift-stdlib)
  swift build "${flags[@]}"
}

# free_port: prints a TCP port of the loopback address that nobody listens on now, below those that systems give to clients.
free_port() {
  python3 - <<'PYTHON'
import random, socket
while True:
    port = random.randrange(12_000, 32_000)
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PYTHON
}
