"""Evaluating rankings: protocols as data, metrics, chance, intervals, comparisons and slices; frames in, frames out."""
