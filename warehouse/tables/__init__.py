"""The contract of every table, grouped by the prefix of its name."""
