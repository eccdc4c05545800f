"""From landed rows to good rows and rejects: cast, check at the boundary, transform, check against the contract."""
