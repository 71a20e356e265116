#!/bin/sh
# Mounts the store over WebDAV at ~/Kagikura, or where you say; davfs2 asks for your
# name (~~account), your password and the password of device.p12. Needs sudo: davfs2
# runs as a user of its own, who cannot read this folder, so it gets copies.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
folder=${1:-"$HOME/Kagikura"}
mkdir -p -- "$folder"
if [ "$(id -u)" = 0 ]; then as=; else as=sudo; fi
certs=/etc/davfs2/certs
$as install -m 600 "$here/device.p12" "$certs/private/kagikura-~~device.p12"
{
  echo "clientcert kagikura-~~device.p12"
  if [ -e "$here/kagikura-ca.crt" ]; then
    echo "trust_ca_cert kagikura-ca.crt"
  fi
  echo "use_locks 1"
} >"$here/davfs2.conf"
if [ -e "$here/kagikura-ca.crt" ]; then
  $as install -m 644 "$here/kagikura-ca.crt" "$certs/kagikura-ca.crt"
fi
exec $as mount -t davfs -o "conf=$here/davfs2.conf,uid=$(id -u),gid=$(id -g)" \
  "https://~~{url_host}:~~{webdav_port}/" "$folder"
