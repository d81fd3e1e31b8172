"""HTTP: requests in, responses out. Transports, the exchange of one request, the control plane and its endpoints."""
