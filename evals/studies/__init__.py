"""Studies: what the papers claim, measured here on real outcomes. `make report` runs them and writes `docs/results/`."""
