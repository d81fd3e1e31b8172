"""The gateway's own overhead, side by side with a peer in one run. `python -m pointsman.evals.bench --help`."""
