"""The wire: JSON and SSE on one side, our types on the other."""
