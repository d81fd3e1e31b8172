"""Whether a prompt asks for harm (MoGU, arXiv 2405.14488), decided for the whole prompt before routing."""
