"""Whether a prompt asks for harm (MoGU, arXiv 2405.14488), asked of the whole prompt before it is routed."""
