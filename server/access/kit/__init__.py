"""Mapping kits: all that a person needs to map the store as a drive, in one folder."""
