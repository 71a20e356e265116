"""The `kagikura` command: one file per noun."""
