"""One file per strategy or kind of destination."""
