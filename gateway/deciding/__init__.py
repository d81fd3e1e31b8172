"""The decision about a request: what it asks, what its prompt says, which experts may answer, and which one should."""
