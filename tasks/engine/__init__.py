"""How a batch walks: open a run, extract to the landing, refine and load, close with the sums checked."""
