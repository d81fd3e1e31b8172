"""litellm's `config.yaml` in our terms: what becomes of each of its entries, and what has no counterpart here.

Everything here works on raw settings, before they are checked. Format: litellm's documentation, proxy server,
config.yaml.
"""
