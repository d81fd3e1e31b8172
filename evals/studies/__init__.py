"""Studies: what the papers claim, measured on real outcomes. `make report` runs them and writes `docs/results/`."""
