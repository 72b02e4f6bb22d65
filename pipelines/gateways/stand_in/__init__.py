"""The stand-in for a language model: a server on this machine that speaks chat completions and answers by rules.

It is no model, and says so: it answers under the name marquee-stand-in, which every table that holds its answers carries.
"""
