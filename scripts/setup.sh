#!/bin/sh
# Sets up what `make report` and `make test` need: a virtual environment and, on Debian and its kin, system packages.
# usage: scripts/setup.sh report|test
set -eu

what=${1:-report}
cd "$(dirname "$0")/.."

packages="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core fonts-open-sans fonts-wqy-microhei"
if [ "$what" = test ]; then
  packages="$packages docker.io iptables nftables ipset busybox-static iproute2 conntrack procps util-linux poppler-utils"
  packages="$packages chromium systemd"
fi

missing_packages() {
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || printf '%s ' "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_packages() {
  # shellcheck disable=SC2086  # a list of names without blanks
  missing=$(missing_packages $packages)
  if ! python3 -c 'import ensurepip' 2>/dev/null; then missing="$missing python3-venv"; fi
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    echo "setup: these Debian packages are missing: $missing" >&2
    echo "setup: without root or sudo they cannot be installed; ask for: apt-get install $missing" >&2
    exit 1
  fi
  echo "setup: installing $missing"
  as_root apt-get update -q
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
  install_packages
else
  echo "setup: no Debian here; WeasyPrint needs pango from your system for PDF" >&2
fi

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "setup: Python 3.11 or newer is needed, this is $(python3 -V)" >&2
  exit 1
}
[ -x .venv/bin/python ] || python3 -m venv .venv

# Of Debian's prometheus only the tool that checks metrics and rules, not the server.
add_promtool() {
  folder=$(mktemp -d)
  as_root apt-get update -q
  (cd "$folder" && as_root apt-get download -q prometheus)
  dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool
  mv "$folder/usr/bin/promtool" .venv/bin/
  rm -rf "$folder"
}
if [ "$what" = test ] && command -v apt-get >/dev/null && [ ! -x .venv/bin/promtool ]; then
  echo "setup: adding promtool"
  add_promtool
fi

extra=""
[ "$what" = test ] && extra="[dev]"
stamp=".venv/.installed-$what"
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
  .venv/bin/python -m pip install -q --disable-pip-version-check -e ".$extra"
  touch "$stamp"
fi
