"""What `--only` can name, and what a refresh does."""

from __future__ import annotations

# What each name of --only stands for among the groups of assets, in the order of a run.
GROUPS = {
    "raw": ("raw", "meta"),
    "core": ("core",),
    "dialogues": ("dialogues",),
    "anno": ("anno", "llm"),
    "pref": ("pref", "llm"),
    "eval": ("eval",),
}

# Evaluations cost as much as linking and move slowly: full runs and the weekly schedule make them.
REFRESHED = tuple(name for name in GROUPS if name != "eval")
PARTITIONED = {"dialogues", "anno", "pref"}
EXTERNAL = {"anno_validation"}
