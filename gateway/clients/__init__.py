"""Clients of the gateway's HTTP API for frameworks that bring their own interface; nothing that serves imports them."""
