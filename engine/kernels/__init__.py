"""Compiled loops and the operations they serve: products, whole forwards, rounding, noise, ranking, CUDA graphs.

They know tensors and nothing of models, caches or policies, and import no other package of the engine. Its models and
drafts use them.
"""
