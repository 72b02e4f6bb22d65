"""What `--only` can name, and what a refresh does."""

from __future__ import annotations

# What each name of --only stands for among the groups of assets, in the order of a run.
GROUPS = {
    "raw": ("raw", "meta"),
    "core": ("core",),
    "dialogues": ("dialogues",),
    "anno": ("anno", "llm"),
    "pref": ("pref", "llm"),
    "items": ("interactions", "embeddings"),
    "retrieval": ("retrieval", "llm"),
    "eval": ("eval",),
}

# Training and evaluations cost more than everything else and move slowly: full runs and the weekly schedules make them.
REFRESHED = tuple(name for name in GROUPS if name not in ("retrieval", "eval"))
PARTITIONED = {"dialogues", "anno", "pref"}
EXTERNAL = {"anno_validation"}
