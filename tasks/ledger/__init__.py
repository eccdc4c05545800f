"""What the system remembers: runs, batches, checkpoints, quarantine, in one PostgreSQL database."""
