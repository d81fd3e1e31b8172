"""Faults injected one after the other under load, with every request accounted for."""
