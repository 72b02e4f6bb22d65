"""Commands of `marquee` that are too long for cli.py, a module each."""
