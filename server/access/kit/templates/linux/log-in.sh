#!/bin/sh
# Logs in with key, password and one-time code; the code then holds for some hours.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
chmod 600 "$here/device.key"
exec sftp -P ~~sftp_port -o "User=~~account" -o "IdentityFile=\"$here/device.key\"" \
  -o IdentitiesOnly=yes -o "UserKnownHostsFile=\"$here/known_hosts\"" \
  -o StrictHostKeyChecking=yes ~~host
