"""Scorers: the terms of the utility. `utility.py` lists them, and a new one is a line there."""
