"""Stage 2: filters say who may answer, terms what each would cost, the ranking who should."""
