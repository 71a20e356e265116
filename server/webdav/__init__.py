"""WebDAV (RFC 4918): wsgidav on cheroot."""
