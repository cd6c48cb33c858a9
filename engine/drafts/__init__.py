"""How drafts are made: rounded by GPTQ, distilled, n-grams counted; the default pair, and the weights that come along.

Built on `engine.models` and `engine.kernels`; the runtime loads what it makes. `default_drafts`, `default_pair` and
`training_prompts` import no torch.
"""
