#!/bin/sh
# Mounts the store at ~/Kagikura, or where you say. To end it: fusermount3 -u ~/Kagikura
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
folder=${1:-"$HOME/Kagikura"}
mkdir -p -- "$folder"
chmod 600 "$here/device.key"
exec sshfs -p ~~sftp_port "~~account@~~url_host:/" "$folder" \
  -o "IdentityFile=\"$here/device.key\"" -o IdentitiesOnly=yes \
  -o "UserKnownHostsFile=\"$here/known_hosts\"" -o StrictHostKeyChecking=yes \
  -o reconnect -o ServerAliveInterval=15
