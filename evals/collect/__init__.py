"""Make an outcome table by asking experts: every prompt to every expert, scored, with what each call took."""
