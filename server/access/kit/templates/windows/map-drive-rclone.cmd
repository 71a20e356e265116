@echo off
rem Maps the store as K: with rclone and WinFsp, for as long as this window is open.
rem rclone cannot answer a one-time code: run log-in.cmd once before.
cd /d "%~dp0"
rclone mount kagikura:/ K: --config rclone.conf --vfs-cache-mode writes --volname Kagikura
pause
