"""The models one may call: what they are (`spec`), how they are called (`backends`), how they fare (`pool`)."""
