"""The decision: pure functions from a request and a pool snapshot to a `Decision`. No I/O, no clock, no randomness."""
