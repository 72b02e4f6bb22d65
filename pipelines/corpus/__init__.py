"""Fusing linked records into one row a film."""
