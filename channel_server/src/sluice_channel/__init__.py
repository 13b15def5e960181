"""A private conda channel over HTTP."""
