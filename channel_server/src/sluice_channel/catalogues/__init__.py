"""Catalogues: in memory, and in SQLite."""
