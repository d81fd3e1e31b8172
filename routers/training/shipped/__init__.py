"""How the router and the safety score that ship were made. Offline; not part of what is installed."""
