"""The decoder: policies (torch-free), models in worker processes, and what a run writes down.

As a library, one imports from its modules; this package imports nothing by itself:

- `engine.configuration`: `Configuration`, a policy with its settings, draft and placement (torch-free).
- `engine.naming`: `in_words`, how it is called (torch-free).
- `engine.drafts.default_drafts`: `choose_models`, a target and its drafts by name (torch-free).
- `engine.runtime.pair`: `open_pair` starts their workers; `Pair.generate` writes a text and gives a `Run`.
- `engine.record`: `Run`, what was written, and when which model computed (torch-free).
- `engine.metrics`: what is counted of runs: `measure`, `speed`, `speed_up` (torch-free).
- `engine.policies`: `load_policy`, `policy_names` (torch-free).
- `engine.errors`: `SpecBranchError`, the base of all that is raised on purpose (torch-free).

>>> from engine.configuration import Configuration
>>> from engine.naming import in_words
>>> in_words(Configuration(policy="specbranch", draft="int8", draft_length=3, branches=2))
'SpecBranch, int8 draft, length 3, up to 2 branches, separate devices'
"""
