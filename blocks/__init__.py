"""Credentials and clients, as Prefect blocks, and the plain objects that the rest of the code uses."""
