"""A target at the price of a deeper one: behind each of its layers, blocks that compute and add nothing. Torch-free.

A block is a copy of its layer whose two output projections, the attention's and the MLP's, are zero. It reads its
weights, fills its cache and multiplies like any other layer, and what it adds to the residual stream is exactly zero.
So the text is the plain model's, token for token, and the cost is that of a model so many times as deep. A model
is deepened while it is loaded, and nothing is written to disk.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from engine.errors import ConfigurationError
from engine.models.specs import ModelSpec, weight_files

LAYER = re.compile(r"model\.layers\.(\d+)\.")
ADDS = (".self_attn.o_proj.weight", ".mlp.down_proj.weight")  # what a layer writes to the residual stream by


def deepened(state: Mapping[str, Any], times: int) -> Mapping[str, Any]:
    """The weights (tensors) of a Llama `times` as deep, by transformers' names; layer i's blocks begin at i * times.

    The first of them is the layer itself. The others have memory of their own, so that all of it is really read; their
    zeros are written, so that they are no page that is shared.
    """
    if times == 1:
        return state
    made: dict[str, Any] = {}
    for name, weight in state.items():
        layer = LAYER.match(name)
        if layer is None:
            made[name] = weight
            continue
        first, rest = times * int(layer[1]), name[layer.end() :]
        made[f"model.layers.{first}.{rest}"] = weight
        for block in range(first + 1, first + times):
            own = weight.clone()
            made[f"model.layers.{block}.{rest}"] = own.zero_() if name.endswith(ADDS) else own
    return made


def deepened_model(model: Any, times: int) -> Any:
    """A Llama of transformers that is `times` as deep, as `deepened` makes weights; another model is left as it is."""
    if times == 1:
        return model
    import torch

    model, blocks = copy.deepcopy(model), []
    for layer in model.model.layers:
        blocks.append(layer)
        for _ in range(times - 1):
            block = copy.deepcopy(layer)
            with torch.no_grad():
                for projection in (block.self_attn.o_proj, block.mlp.down_proj):
                    projection.weight.zero_()
            blocks.append(block)
    for place, block in enumerate(blocks):
        block.self_attn.layer_idx = place  # its place in the cache
    model.model.layers = torch.nn.ModuleList(blocks)
    model.config.num_hidden_layers = len(blocks)
    return model


def check_deepens(spec: ModelSpec, lean: bool, family: str) -> None:
    """ConfigurationError where a model is to be deepened that cannot be; `lean`: see `engine.models.llama.is_lean`."""
    if spec.deepen == 1:
        return
    if not lean:
        raise ConfigurationError(
            f"'{spec.source}' is of the {family} family or has biases, and only Llama-family models without biases "
            "can be deepened: choose such a target, or leave --deepen out."
        )
    parameters(spec)  # which are going to be stated


def parameters(spec: ModelSpec) -> int:
    """How many a target has, those of added blocks among them, by the headers of its safetensors.

    ConfigurationError if its weights are not in such files, SpecBranchError if they are not on this machine.
    """
    from safetensors import safe_open

    found = 0
    for file in weight_files(spec):
        if file.suffix != ".safetensors":
            raise ConfigurationError(
                f"'{spec.source}' has no safetensors, and only a model of these can be deepened: save it as such."
            )
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                numbers = 1
                for size in tensors.get_slice(name).get_shape():
                    numbers *= size
                found += numbers * (spec.deepen if LAYER.match(name) else 1)
    return found


def remarks(target: ModelSpec) -> tuple[str, ...]:
    """What has to be said wherever a figure of this target is shown, as notes are; nothing of one that is as it is."""
    if target.deepen == 1:
        return ()
    more = (
        "a block that computes and adds"
        if target.deepen == 2
        else f"{target.deepen - 1} blocks that compute and add"
    )
    return (
        f"the target is {target.source} deepened {target.deepen} times, with {more} nothing behind each layer: figures "
        f"are of real computation at the cost of {parameters(target) / 1e6:,.1f} M parameters, the text is the small "
        "model's, and nothing is claimed about quality",
    )
