"""What a model is made of: the specification that travels to workers and into calibrations. Torch-free."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import SpecBranchError
from engine.paths import check_model

DEFAULT = "default:smollm2-135m-instruct"
WEIGHTS = Path(__file__).parents[1] / "drafts" / "weights"
TARGET = "target"  # the target's name among the models of a pair
Precision = Literal["float32", "bfloat16", "float16"]


class ModelSpec(BaseModel):
    """A model by folder or hub id, and how it is reduced; JSON travels to the workers and into calibrations.

    `source` may be `DEFAULT`, the embedded pair's target, wherever it is kept. `bits` 8 or 4 rounds linear weights:
    to nearest, or with `codes` as that file of `engine.drafts.gptq` says (`DEFAULT`: the embedded pair's, made when it
    is not there yet). `distilled` names a pruned and distilled draft, whose embedding and head are then `source`'s own:
    a file, or one of those carried in `WEIGHTS` by its name. So are `kept_tokens`, a distilled draft whose head's
    tokens this one's is cut to, and `ngrams`, a file of `engine.policies.ngrams` that a draft guesses by. `deepen`
    makes a target so many times as deep (`engine.models.deepening`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    precision: Precision = "bfloat16"
    bits: Literal[8, 4] | None = None
    codes: str | None = None
    distilled: str | None = None
    kept_tokens: str | None = None
    ngrams: str | None = None
    deepen: int = Field(default=1, ge=1, le=64)
    trust_remote_code: bool = False
    general_path: bool = False

    @model_validator(mode="after")
    def _codes_are_of_four_bits(self) -> Self:
        if self.codes is not None and self.bits != 4:
            raise ValueError("codes are of 4 bits: give bits 4 with them")
        return self

    @model_validator(mode="after")
    def _drafts_are_not_deepened(self) -> Self:
        if self.deepen > 1 and (self.bits or self.distilled or self.kept_tokens):
            raise ValueError("only a target is deepened: a draft of the plain one serves all depths")
        return self

    @property
    def location(self) -> str:
        """The folder or id that `source` means; the default target is made if it is not there yet.

        ConfigurationError if it is a path where there is no folder.
        """
        if self.source != DEFAULT:
            check_model(self.source)
            return self.source
        from engine.drafts.default_pair import default_target

        return str(default_target())

    def describe(self) -> str:
        """What it is, in words for a table."""
        by = " by GPTQ" if self.codes else ""
        parts = [self.source, self.precision, f"rounded to int{self.bits}{by}" if self.bits else ""]
        parts += [f"pruned and distilled ({self.distilled})" if self.distilled else ""]
        parts += [
            f"head cut to the tokens of {self.kept_tokens} and the prompt's" if self.kept_tokens else ""
        ]
        parts += [f"deepened {self.deepen} times" if self.deepen > 1 else ""]
        parts += [f"guesses by {self.ngrams}" if self.ngrams else ""]
        return ", ".join(part for part in parts if part)

    @property
    def codes_file(self) -> Path | None:
        """The file that `codes` means; the default one is made if it is not there yet."""
        if self.codes != DEFAULT:
            return Path(self.codes) if self.codes else None
        from engine.drafts.default_pair import default_codes

        return default_codes()

    @property
    def distilled_file(self) -> Path | None:
        """The file that `distilled` means."""
        return _carried(self.distilled)

    @property
    def kept_tokens_file(self) -> Path | None:
        """The file that `kept_tokens` means."""
        return _carried(self.kept_tokens)

    @property
    def ngrams_file(self) -> Path | None:
        """The file that `ngrams` means."""
        return _carried(self.ngrams)


def _carried(name: str | None) -> Path | None:
    """A file by its path, or one of `WEIGHTS` by its name."""
    if name is None or Path(name).is_file():
        return Path(name) if name else None
    # A path that is not there is never taken for a carried file of the same name.
    return WEIGHTS / name if Path(name).name == name else Path(name)


def weight_files(spec: ModelSpec) -> list[Path]:
    """The files of a model's own weights, in the order of their names. SpecBranchError if they are not here."""
    folder = Path(spec.location)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError

        try:
            folder = Path(snapshot_download(spec.source, local_files_only=True))
        except (OSError, HFValidationError) as error:
            raise SpecBranchError(f"the weights of '{spec.source}' are not on this machine.") from error
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def not_loaded(what: str, source: str, error: Exception) -> SpecBranchError:
    """What is said where `what` of a model could not be loaded, and what to do where the hub has to be asked."""
    if not Path(source).is_dir() and "connect" in str(error):
        return SpecBranchError(
            f"there is no folder '{source}', and the hub's model of that name is not in the local cache and could not "
            "be fetched: fetch it where there is a network, or name a folder."
        )
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return SpecBranchError(f"{what} '{source}' could not be loaded: {reason}")
