"""What is expected of each table, a module for each area; `every.py` gathers them."""
