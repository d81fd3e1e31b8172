"""Null experts: members of the pool that answer without a model, with a predicted quality of their own per prompt.

The idea of experts that cost nothing beside those that do is AdaMoE's (arXiv 2406.13233) and MoE++'s (arXiv
2410.07348), within a layer there, over whole models here. What is here is pure; the gateway holds the caches and
counts.
"""
