"""The one virtual file system behind every front end."""
