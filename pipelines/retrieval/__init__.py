"""What retrieval reads: films as text, which films to embed first, and histories from titles that somebody typed."""
