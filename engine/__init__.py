"""The decoder: policies (torch-free), models in worker processes, and what a run writes down.

As a library it exports the following, and imports each when it is asked for; none but the workers imports torch:

- `Configuration`: a policy with its settings, draft and placement; `policy_names` lists the policies, and `in_words`
  says how a configuration is called.
- `choose_models`: a target and its drafts by name or path, each a `ModelSpec`; `open_pair` starts their workers, and
  gives a `Pair` and the target's `Tokenizer`; `Pair.generate` writes a text.
- `Run`: what was written, in rounds (`Round`), and when which model computed (`Job`).
- `measure`: all `Metrics` of some runs; `speed` and `speed_up`: an `Estimate` with its 95% interval over texts.
- `SpecBranchError`: the base of all that is raised on purpose, `ConfigurationError` and `CalibrationError` among it.

>>> from engine import Configuration, in_words
>>> in_words(Configuration(policy="specbranch", draft="int8", draft_length=3, branches=2))
'SpecBranch, int8 draft, length 3, up to 2 branches, separate devices'
"""

from typing import TYPE_CHECKING

from engine.exports import on_demand

if TYPE_CHECKING:
    from engine.configuration import Configuration
    from engine.drafts.default_drafts import choose_models
    from engine.errors import CalibrationError, ConfigurationError, SpecBranchError
    from engine.metrics import Estimate, Metrics, measure, speed, speed_up
    from engine.models.specs import ModelSpec
    from engine.models.tokenizer import Tokenizer
    from engine.naming import in_words
    from engine.policies import policy_names
    from engine.policies.tree import Round
    from engine.record import Job, Run
    from engine.runtime.pair import Pair, open_pair
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CalibrationError",
    "Configuration",
    "ConfigurationError",
    "Estimate",
    "Job",
    "Metrics",
    "ModelSpec",
    "Pair",
    "Round",
    "Run",
    "SpecBranchError",
    "Tokenizer",
    "choose_models",
    "in_words",
    "measure",
    "open_pair",
    "policy_names",
    "speed",
    "speed_up",
]
