"""The processes of the one daemon, and the only place that names concrete classes."""
