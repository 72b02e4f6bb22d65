"""Entity resolution: which records are the same film."""
