"""A pool under an hour of production traffic: the gateway's own decision, pool and prices on a simulated clock."""
