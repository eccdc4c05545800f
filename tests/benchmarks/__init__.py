"""Speed against bare psql, on data that anybody can make again: `python -m tests.benchmarks`."""
