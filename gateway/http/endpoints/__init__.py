"""Endpoint families, one thin module each."""
