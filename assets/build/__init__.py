"""What the assets do, told without dagster: find what changed, compute it, write a new version. Nothing is published here."""
