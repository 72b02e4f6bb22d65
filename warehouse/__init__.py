"""WHAT is stored and what makes it right: table contracts, the Delta store, the DuckDB catalogue, quality suites."""
