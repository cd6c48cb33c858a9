"""A configuration names its draft, or takes the first one there is."""

import pytest

from engine.configuration import Configuration
from engine.errors import ConfigurationError

KNOWN = ("near", "far")


def test_which_draft_is_meant() -> None:
    assert Configuration(policy="pearl").draft_among(KNOWN) == "near"
    assert Configuration(policy="pearl", draft="far").draft_among(KNOWN) == "far"
    assert Configuration(policy="autoregressive", draft="far").draft_among(KNOWN) is None
    with pytest.raises(ConfigurationError, match="no draft 'fra'; its drafts: near, far"):
        Configuration(policy="pearl", draft="fra").draft_among(KNOWN)
    with pytest.raises(ConfigurationError, match="its drafts: none"):
        Configuration(policy="pearl").draft_among(())


def test_a_label_says_what_the_policy_uses_and_nothing_else() -> None:
    full = {"draft": "near", "draft_length": 6, "branches": 4, "min_confidence": 0.3}
    labels = {
        policy: Configuration.model_validate({"policy": policy, **full}).label()
        for policy in ("autoregressive", "pearl", "specbranch")
    }
    assert labels["autoregressive"] == "autoregressive at-once"
    assert "k4" not in labels["pearl"]
    assert labels["specbranch"] == "specbranch near g6 k4a c0.3 at-once"
