"""Channels that follow another one: its index becomes ours, its files come when they are asked for.

A mirror is a channel of the catalogue like any other, so it has generations, labels, searches and cooldown.
What upstream adds is published, what it takes away is yanked, what it says otherwise is patched. Bytes that
upstream changed under a name are never taken: the first ones stay.
"""
