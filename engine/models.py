"""What a model is made of, and how a worker loads it."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import SpecBranchError
from engine.paths import check_model

DEFAULT = "default:smollm2-135m-instruct"
WEIGHTS = Path(__file__).parent / "weights"
TARGET = "target"  # the target's name among the models of a pair
Precision = Literal["float32", "bfloat16", "float16"]


class ModelSpec(BaseModel):
    """A model by folder or hub id, and how it is reduced; JSON travels to the workers and into calibrations.

    `source` may be `DEFAULT`, the embedded pair's target, wherever it is kept. `bits` 8 or 4 rounds linear weights:
    to nearest, or with `codes` as that file of `engine.gptq` says (`DEFAULT`: the embedded pair's, made when it is
    not there yet). `distilled` names a pruned and distilled draft, whose embedding and head are then `source`'s own:
    a file, or one of those carried in `WEIGHTS` by its name. So are `kept_tokens`, a distilled draft whose head's
    tokens this one's is cut to, and `ngrams`, a file of `engine.ngrams` that a draft guesses by. `deepen` makes a
    target so many times as deep (`engine.deepening`).
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
        from engine.default_pair import default_target

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
        from engine.default_pair import default_codes

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


def load_model(spec: ModelSpec, device: str = "cpu", vocabulary: int | None = None) -> Any:
    """The `engine.cached_model.CachedModel` of a spec, whose head scores the first `vocabulary` tokens (None: all).

    Rows of the head beyond the tokenizer's tokens only fill it up to a round size, and nothing may come of them.
    SpecBranchError if it cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from engine.cached_model import CachedModel
    from engine.deepening import check_deepens, deepened, deepened_model
    from engine.distilled import load_distilled, load_kept
    from engine.llama import Llama, is_lean
    from engine.ngrams import vocabulary_of
    from engine.self_check import check_once
    from engine.transformers_model import TransformersModel

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    dtype: torch.dtype = getattr(torch, spec.precision)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            spec.location,
            dtype=torch.float32 if spec.bits else dtype,
            trust_remote_code=spec.trust_remote_code,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise not_loaded("the model", spec.source, error) from error
    config, state = model.config, model.state_dict()
    check_deepens(spec, is_lean(config), config.model_type)
    rows = int(model.get_input_embeddings().weight.shape[0])
    if vocabulary is not None and vocabulary > rows:
        raise SpecBranchError(
            f"the tokenizer of '{spec.source}' has {vocabulary} tokens, and the model only {rows}: they do not belong "
            "together."
        )
    if spec.ngrams_file and vocabulary_of(spec.ngrams_file) != config.vocab_size:
        raise SpecBranchError(
            f"the n-grams {spec.ngrams_file} are of another vocabulary than '{spec.source}': count its own with "
            "'specbranch count-ngrams'."
        )
    if spec.distilled_file is not None:
        weights = load_distilled(spec.distilled_file, state)
        config.num_hidden_layers = weights.layers
        return CachedModel(
            Llama(
                config,
                weights.state,
                dtype,
                bits=spec.bits,
                kept=weights.kept_tokens,
                device=device,
                vocabulary=vocabulary,
            )
        )
    decoder: Any
    if is_lean(config) and not spec.general_path:
        kept = load_kept(spec.kept_tokens_file, state) if spec.kept_tokens_file else None
        if spec.codes_file is not None:
            from engine.gptq import load_codes

            state |= load_codes(spec.codes_file, state)
        decoder = Llama(
            config,
            deepened(state, spec.deepen),
            dtype,
            bits=spec.bits,
            kept=kept,
            device=device,
            vocabulary=vocabulary,
            blocks=spec.deepen,
        )
    elif spec.bits:
        raise SpecBranchError(
            f"'{spec.source}' is of the {config.model_type} family, but int8 and int4 drafts are made of "
            "Llama-family models only: give another draft model by path instead."
        )
    else:
        whole = deepened_model(model, spec.deepen)
        decoder = TransformersModel(whole.to(device), vocabulary, blocks=spec.deepen)
    made = CachedModel(decoder)
    if not (spec.bits or spec.kept_tokens):  # else it is a draft, which promises no text of its own
        check_once(made, model.eval(), spec, vocabulary or rows, device)
    return made
