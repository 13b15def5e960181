"""A lock in the formats of other tools. Pure."""

from sluice.export.formats import conda_lock, environment, explicit, requirements

__all__ = ["conda_lock", "environment", "explicit", "requirements"]
