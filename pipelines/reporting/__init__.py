"""Pages for people: HTML files that need no server, made from frames."""
