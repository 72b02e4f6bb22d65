"""What `--only` can name, and what a refresh does."""

from __future__ import annotations

# What each name of --only stands for among the groups of assets, in the order of a run.
GROUPS = {
    "raw": ("raw", "meta"),
    "core": ("core",),
    "dialogues": ("dialogues",),
    "anno": ("anno", "llm"),
    "items": ("interactions", "embeddings"),
    "sim": ("users", "episodes", "judgements", "llm"),
    "pref": ("pref", "llm"),
    "retrieval": ("retrieval", "llm"),
    "eval": ("eval",),
}

# Training, simulations and evaluations cost more than everything else and move slowly: full runs and the weekly schedules make them.
REFRESHED = tuple(name for name in GROUPS if name not in ("sim", "retrieval", "eval"))
# By dataset, and by domain and agent. What is partitioned in two ways cannot be made in one run of a job.
PARTITIONED = {"dialogues", "anno", "pref"}
SIMULATED = {"episodes"}
# What has to be there before anything is simulated.
BEFORE_SIMULATION = {"raw", "meta", "core", "dialogues", "anno", "interactions", "embeddings", "users"}
EXTERNAL = {"anno_validation"}
