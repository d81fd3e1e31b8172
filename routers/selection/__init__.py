"""Stage 2: filters say who may answer, scorers what each would cost, a picker who should. Weights stand outside."""
