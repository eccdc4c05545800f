"""How it works: the nouns a pipeline file is written in, and the plain Python under them."""
