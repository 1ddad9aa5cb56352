#!/usr/bin/env bash
# Makes a Debian machine without Docker and without an image registry able to build and run the image: podman, and an
# image of Debian's own Python under the name of the official one. Needs root; does nothing where all is there.
set -euo pipefail
version=3.11  # Bookworm's, and the Dockerfile's.
image=docker.io/library/python:$version-slim-bookworm

missing=()
for package in podman buildah runc netavark aardvark-dns iptables mmdebstrap; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "Installing from the distribution: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Where even root may not raise limits, podman's own are too high.
if [ ! -e /etc/containers/containers.conf ] && ! (ulimit -n 1048576) 2>/dev/null; then
  files=$(ulimit -Hn)
  printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=32768:32768"]\n' "$files" "$files" \
    >/etc/containers/containers.conf
fi

podman image exists "$image" && exit 0
echo "Making a stand-in for $image"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv,usr-is-merged \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/base.tar" >"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
cat >"$work/Dockerfile" <<'END'
FROM scratch
ADD base.tar /
RUN ln -s /usr/bin/python3 /usr/local/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
CMD ["python3"]
END
podman build --quiet --format=docker --tag "$image" "$work" >/dev/null
