"""WHEN and WIRED: the only package that imports dagster. Definitions, automation, resources, checks and the command line."""
