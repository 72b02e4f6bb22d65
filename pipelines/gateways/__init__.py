"""The only modules that talk to services over the network."""
