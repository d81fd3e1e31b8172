"""Stage 1: the category of a prompt, with its uncertainty."""
