#!/usr/bin/env bash
# What `make test-all` needs from Debian: installs what is missing, and fails if something still is. Needs root to install.
set -euo pipefail

# command:package
needed=(chromium:chromium openssl:openssl)

missing=()
for pair in "${needed[@]}"; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ "${#missing[@]}" = 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "debian.sh: missing: ${missing[*]}. Only root can install them: apt-get install ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get --quiet --quiet update || echo "debian.sh: the package lists could not be updated; trying with what is there" >&2
apt-get --quiet --quiet --yes --no-install-recommends install "${missing[@]}"
for pair in "${needed[@]}"; do
  command -v "${pair%%:*}" >/dev/null || { echo "debian.sh: ${pair##*:} was installed, but ${pair%%:*} is not on PATH" >&2; exit 1; }
done
