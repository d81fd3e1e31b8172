"""Metrics: pure functions over arrays. No table, no router, no clock; randomness comes in as a seed."""
