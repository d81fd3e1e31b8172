"""A request decided: what it asks, what its prompt says, who may answer it, and who shall."""
