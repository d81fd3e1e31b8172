"""A decided request on its way to experts, and the answer on its way back."""
