"""The models one may call: what they are (`spec`), how they are called (`protocols`, `backends`), how they fare (`pool`)."""
