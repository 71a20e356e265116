#!/bin/sh
# Mounts the store at ~/Kagikura, or where you say, until this is ended with Ctrl-C.
# rclone cannot answer a one-time code: run log-in.sh once before.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
folder=${1:-"$HOME/Kagikura"}
mkdir -p -- "$folder"
chmod 600 "$here/device.key"
exec rclone mount kagikura:/ "$folder" --config "$here/rclone.conf" \
  --sftp-key-file "$here/device.key" --sftp-known-hosts-file "$here/known_hosts" \
  --vfs-cache-mode writes
