"""Admission, sessions and accounts: decided in `auth`, recorded here."""
