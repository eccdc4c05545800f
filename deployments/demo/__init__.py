"""The demo's real data on three roads: files, a paged REST API and a source database, all served from this machine."""
