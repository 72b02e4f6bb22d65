"""Measuring what the pipelines made, with protocol and intervals."""
