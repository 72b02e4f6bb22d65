"""Preference pairs from conversations: a context, a better answer and a worse one.

Each way to make pairs has a module of its own and works dialogue by dialogue, so that the pairs of a dialogue that did not change
can be kept. `assemble` puts them together: splits, near-duplicates. Does not belong here: talking to a model (`gateways/llm`), the
figures (`evaluation/preferences.py`), files (`pipelines/exports.py`).
"""
