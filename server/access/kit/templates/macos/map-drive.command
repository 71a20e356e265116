#!/bin/sh
# Opens the store in the Finder; the name is ~~secret_name, the password the device's
# secret. Install kagikura.mobileconfig before.
set -eu
exec osascript -e 'mount volume "https://~~{url_host}:~~{secret_port}/"'
