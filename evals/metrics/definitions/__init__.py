"""The metrics of the report, one decorated function each; `docs/add-a-metric.md` says how to add one."""
