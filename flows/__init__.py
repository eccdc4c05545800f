"""What runs: one file per pipeline, named for its table; operators' flows in `operate/`."""
