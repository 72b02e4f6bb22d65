"""Hand-labelled turns and mentions: ids, offsets and labels. What they are: README.md."""
