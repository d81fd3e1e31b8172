"""The record of every request: its outcome, in the ledger and in the metrics."""
