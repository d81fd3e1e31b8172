"""Backends: one module for each way to reach an expert."""
