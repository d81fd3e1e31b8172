"""One module per way of reaching an expert."""
