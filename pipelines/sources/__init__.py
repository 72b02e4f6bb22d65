"""Reading catalogues of any upstream format into raw title tables."""
