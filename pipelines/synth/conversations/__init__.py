"""Synthetic conversations about a pack's films, in the formats of the dialogue datasets, with the truth beside them.

Belongs here: what is said (`acts_*.toml`), how a conversation goes, how it is spelt, and how each dataset writes it down.
Does not belong here: what films there are (`pipelines/synth/world.py`).
"""
