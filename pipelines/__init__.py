"""HOW rows are made: frames in, frames out. No clock, no environment; files only in sources, network only in gateways."""
