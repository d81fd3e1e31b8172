"""The gateway's own overhead, measured side by side with a peer in one run. `python -m evals.bench --help`."""
