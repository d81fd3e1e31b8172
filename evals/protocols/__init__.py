"""Harder questions than a split at random: unseen data sets, unseen domains, new experts, other seeds, other tables."""
