"""Adapters of the keyring port."""
