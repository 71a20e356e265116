"""The one settings schema, its loader and its reference."""
