"""How a worker loads the model of a spec."""

from typing import Any

from engine.errors import SpecBranchError
from engine.models.specs import ModelSpec, not_loaded


def load_model(spec: ModelSpec, device: str = "cpu", vocabulary: int | None = None) -> Any:
    """The model of a spec (`engine.models.cached_model.CachedModel`), whose head scores the first `vocabulary` tokens.

    With None: all. Rows of the head beyond the tokenizer's tokens only fill it up to a round size, and nothing may come
    of them. SpecBranchError if it cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from engine.drafts.distilled import load_distilled, load_kept
    from engine.models.cached_model import CachedModel
    from engine.models.deepening import check_deepens, deepened, deepened_model
    from engine.models.llama import Llama, is_lean
    from engine.models.self_check import check_once
    from engine.models.transformers_model import TransformersModel
    from engine.policies.ngrams import vocabulary_of

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
            from engine.drafts.gptq import load_codes

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
