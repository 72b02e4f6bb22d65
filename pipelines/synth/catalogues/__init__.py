"""The catalogues of a pack: which works each knows, what it gets wrong, and its files as its publisher
writes them.
"""
