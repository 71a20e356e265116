"""Engines, metadata and migrations."""
