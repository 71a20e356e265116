"""The trail: gate, journal, recorder, search."""
