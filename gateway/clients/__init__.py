"""Clients of the gateway's HTTP API for other frameworks. No module that serves imports them."""
