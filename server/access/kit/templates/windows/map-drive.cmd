@echo off
rem Maps the store as K: in the Explorer. The password is the device's secret.
net use K: https://~~{url_host}:~~{secret_port}/ /user:~~secret_name * /persistent:yes
pause
