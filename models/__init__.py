"""WHAT is learned: retrievers, losses, training and serving. Does not belong here: dagster, polars, duckdb; what trains must run with torch, numpy and pyarrow alone."""
