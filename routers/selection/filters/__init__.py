"""Filters: who may answer. One file per concern; `chain.py` lists them in order, and a new one is a line there."""
