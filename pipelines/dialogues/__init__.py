"""Reading the published dialogue datasets: files in their own layouts in, the tables of warehouse/tables/dialogues.py out."""
