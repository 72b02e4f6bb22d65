"""WHAT is learned. Empty until the training assets arrive; must run without dagster, polars and duckdb."""
