"""Synthetic catalogue packs in upstream formats, with the truth beside them."""
