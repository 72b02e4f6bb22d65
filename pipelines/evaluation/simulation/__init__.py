"""What simulated conversations are worth: figures from stored episodes, verdicts of a judge, replays of recorded logs, likeness to people.

Pure functions over frames and texts. Does not belong here: asking the judge (assets/build/judging.py), playing episodes (pipelines/simulation), pictures.
Every measure is described in docs/simulation-measures.md.
"""
