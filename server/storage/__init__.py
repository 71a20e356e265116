"""Files on a POSIX file system, reached by the VFS alone."""
