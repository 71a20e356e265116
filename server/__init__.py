"""Kagikura: an audited file store that serves SFTP and WebDAV."""
