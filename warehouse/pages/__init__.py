"""Pages that people read in a browser: what all of them share, their frame and their style sheet."""
