"""What differs between two locks, environments, packages or prefixes. Pure."""

from sluice.compare.difference import Change, Comparison, Section, summary

__all__ = ["Change", "Comparison", "Section", "summary"]
