"""Per expert: predicted quality, answer length, latency, energy and cost of one request."""
