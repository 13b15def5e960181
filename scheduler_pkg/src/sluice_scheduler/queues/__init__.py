"""Stores that pass the one contract suite of the queue."""
