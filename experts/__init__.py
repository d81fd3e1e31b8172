"""Experts: what they are (`spec`), how to call them (`backends`), and their live state (`pool`)."""
