@echo off
rem Logs in with key, password and one-time code; the code then holds for some hours.
cd /d "%~dp0"
icacls device.key /inheritance:r /grant:r "%USERNAME%:R" >nul
sftp -P ~~sftp_port -o "User=~~account" -o IdentityFile=device.key -o IdentitiesOnly=yes -o UserKnownHostsFile=known_hosts -o StrictHostKeyChecking=yes ~~host
pause
