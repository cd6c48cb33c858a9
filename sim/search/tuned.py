"""The file that `tune` writes: the configuration it chose, and those to compare it with."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from calibrate.artifact import load_artifact, write_whole
from calibrate.file_kinds import TUNED, other_kind
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate
from engine.models.specs import ModelSpec
from engine.policies import load_policy
from scenarios.files import YamlFile
from scenarios.what_if import WhatIf
from sim.search.objectives import Bounds, Objective
from sim.search.tune import Scored, Tuning

SHOWN_TIES = 20
LISTS = ("baselines", "others", "tied", "front")  # of configurations


class Predicted(FrozenRecord):
    """What was predicted of a configuration: tokens/s, and speed-up over the best autoregressive placement.

    `far_context`: its texts reach farther than its costs were measured (`sim.world.reach`).
    """

    configuration: str = Field(description="its label")
    role: str
    tokens_per_second: Estimate
    speed_up: Estimate
    far_context: bool = False


class TunedConfiguration(FrozenRecord):
    """What a search on a calibration found.

    `chosen`: the simplest configuration that is statistically tied with the best by the `objective` and within the
    `bounds`. `baselines`: autoregressive decoding in each placement, the better first, and the best of each other
    policy and draft. `others`: some more, to test predictions on. `tied`: the best of all those tied with the
    best. `front`: those that none is better than in tokens/s, tokens/s for each device and waste at once.
    """

    calibration: Path = Field(description="the folder that was searched; in the file relative to it")
    calibration_digest: str
    costs_from: Path | None = Field(
        default=None, description="the folder of the costs, if another; in the file relative to it"
    )
    what_if: WhatIf = WhatIf()
    seed: int = Field(default=0, ge=0)
    objective: Objective = "tokens-per-second"
    bounds: Bounds = Bounds()
    system: str | None = Field(
        default=None, description="the serving system whose methods alone were searched ('tune --for')"
    )
    drafts: dict[str, ModelSpec] = Field(
        default_factory=dict, description="what the calibration's drafts are made of, for exports"
    )
    deepen: int | None = Field(
        default=None, ge=1, description="how many times as deep the calibration's target was made"
    )
    searched: int = Field(ge=1, description="configurations")
    advice: str
    chosen: Configuration
    baselines: tuple[Configuration, ...] = ()
    others: tuple[Configuration, ...] = ()
    tied: tuple[Configuration, ...] = ()
    tied_in_all: int = Field(default=1, ge=1)
    front: tuple[Configuration, ...] = ()
    predicted: tuple[Predicted, ...] = ()
    notes: tuple[str, ...] = Field(default=(), description="what a reader of the predictions has to know")

    @property
    def chosen_draft(self) -> ModelSpec | None:
        """What the chosen configuration's draft is made of; none where there is none, or the file does not tell."""
        name = self.chosen.draft_among(self.drafts) if self.drafts else None
        return self.drafts[name] if name else None

    @classmethod
    def of(
        cls,
        tuning: Tuning,
        calibration: Path,
        digest: str,
        drafts: Mapping[str, ModelSpec] | None = None,
        deepen: int | None = None,
        costs_from: Path | None = None,
    ) -> "TunedConfiguration":
        """From a search on the calibration in a folder, which has a digest (`Artifact.digest`), drafts and a depth.

        `costs_from`: the folder of its costs, if another.
        """
        roles = [("chosen", tuning.chosen)]
        roles += [("baseline", scored) for scored in tuning.baselines]
        roles += [("other", scored) for scored in tuning.others]
        return cls(
            calibration=calibration,
            calibration_digest=digest,
            costs_from=costs_from,
            what_if=tuning.what_if,
            seed=tuning.seed,
            objective=tuning.objective,
            bounds=tuning.bounds,
            system=tuning.system,
            drafts=dict(drafts or {}),
            deepen=deepen,
            searched=len(tuning.scored),
            advice=tuning.advice,
            chosen=tuning.chosen.configuration,
            baselines=_configurations(tuning.baselines),
            others=_configurations(tuning.others),
            tied=_configurations(tuning.tied[:SHOWN_TIES]),
            tied_in_all=len(tuning.tied),
            front=_configurations(tuning.front),
            predicted=tuple(_predicted(role, scored) for role, scored in roles),
            notes=tuning.notes,
        )


def save_tuned(path: Path, tuned: TunedConfiguration) -> None:
    """Write the file; the calibration's path in it is relative to it."""
    data = tuned.model_dump(mode="json")
    data["calibration"] = os.path.relpath(tuned.calibration, path.parent)
    if tuned.costs_from is not None:
        data["costs_from"] = os.path.relpath(tuned.costs_from, path.parent)
    data["what_if"] = tuned.what_if.model_dump(mode="json", exclude_defaults=True)
    data["bounds"] = tuned.bounds.model_dump(mode="json", exclude_defaults=True)
    data["drafts"] = {
        name: spec.model_dump(mode="json", exclude_defaults=True) for name, spec in tuned.drafts.items()
    }
    data["chosen"] = short_form(tuned.chosen)
    for key in LISTS:
        data[key] = [short_form(configuration) for configuration in getattr(tuned, key)]
    comments = [
        "Written by 'specbranch tune'; 'specbranch verify' and 'specbranch generate --config' read it.",
        tuned.advice[0].upper() + tuned.advice[1:],
        f"{tuned.searched} configurations were simulated on the same recorded texts. 'chosen' is the simplest of those "
        "that are statistically tied with the fastest. 'predicted' holds simulated tokens/s and the speed-up over the "
        "best autoregressive placement, with 95% intervals over prompts; nothing here was measured.",
    ]
    text = "".join(f"# {line}\n" for comment in comments for line in textwrap.wrap(comment, 108))
    text += yaml.safe_dump(data, sort_keys=False, width=110, default_flow_style=None)
    write_whole(path, text.encode())


def load_tuned(path: Path) -> TunedConfiguration:
    """Read the file. ConfigurationError, with file, line and key, if it is missing or wrong."""
    if not path.exists():
        raise ConfigurationError(f"there is no {path}; 'specbranch tune --out {path}' writes it.")
    try:
        file = YamlFile.read(path, "a tuned configuration")
        tuned = file.validate(TunedConfiguration, file.data)
    except ConfigurationError as error:  # of something else, written by hand, or by an older program
        raise ConfigurationError(
            other_kind(path, TUNED) or f"{error}; 'specbranch tune --out {path}' writes it anew."
        ) from error
    places: list[tuple[tuple[str | int, ...], Configuration]] = [(("chosen",), tuned.chosen)]
    for key in LISTS:
        places += [((key, index), c) for index, c in enumerate(getattr(tuned, key))]
    for place, configuration in places:
        try:
            load_policy(configuration.policy)
        except ConfigurationError as error:
            raise file.error((*place, "policy"), f": {error}") from error
    named = {key: getattr(tuned, key) for key in ("calibration", "costs_from")}
    beside = {key: path.parent / folder for key, folder in named.items() if folder is not None}
    return tuned.model_copy(update=beside)


def chosen_depth(tuned: TunedConfiguration) -> int | None:
    """How many times as deep the target was made for which was chosen; none if neither file nor calibration tell."""
    if tuned.deepen is not None:
        return tuned.deepen
    try:  # a file that was written before files told
        return load_artifact(tuned.calibration).recorded.target.spec.deepen
    except CalibrationError:
        return None


def other_depth(tuned: TunedConfiguration, deepen: int) -> str | None:
    """A sentence for who runs the choice on a target that is so many times as deep, if it was made for another."""
    depth = chosen_depth(tuned)
    if depth is None or depth == deepen:
        return None
    here, advice = (
        f"is deepened {deepen} times" if deepen > 1 else "is not",
        f"give --deepen {depth}" if depth > 1 else "leave --deepen out",
    )
    made = f"a target deepened {depth} times" if depth > 1 else "a target that is not deepened"
    return f"the choice was made for {made}, and this one {here}: {advice} to run what was chosen"


def _configurations(scored: Sequence[Scored]) -> tuple[Configuration, ...]:
    return tuple(s.configuration for s in scored)


def _predicted(role: str, scored: Scored) -> Predicted:
    return Predicted(
        configuration=scored.configuration.label(),
        role=role,
        tokens_per_second=scored.speed,
        speed_up=scored.speed_up,
        far_context=scored.far_context,
    )


def short_form(configuration: Configuration) -> dict[str, Any]:
    """What a reader has to see: what differs from the defaults, and the basics whatever they are."""
    shown = configuration.model_dump(mode="json", exclude_defaults=True)
    basics = {"policy", "placement"} | ({"draft_length"} if configuration.drafts else set())
    data = configuration.model_dump(mode="json")
    return {key: value for key, value in data.items() if key in basics or key in shown}
