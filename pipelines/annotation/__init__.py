"""Annotating turns: rules as data, requests to a language model, people's labels, and what holds after all have spoken."""
