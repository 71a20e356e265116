@echo off
rem Once, as administrator: trust the store, larger files, and the WebClient service.
cd /d "%~dp0"
~~{trust}reg import webclient.reg
sc config WebClient start= auto
net stop WebClient >nul 2>&1
net start WebClient
pause
