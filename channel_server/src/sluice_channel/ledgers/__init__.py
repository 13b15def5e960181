"""Adapters of the audit log's port."""
