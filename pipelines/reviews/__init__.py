"""Reviews of several releases in one shape: who wrote what about which item, and what the items are."""
