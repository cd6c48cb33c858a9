"""The whole product on a machine at hand: exactness, a calibration, a verification, a benchmark; one JSON of it all.

Meant for a GPU that is there for minutes only (`make gpu-check`); the same check runs on CPU cores.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from calibrate.artifact import write_whole
from calibrate.costs.measurement import SamplingBudget, placements_of
from calibrate.hardware import hardware, software
from calibrate.prompts import Prompt
from calibrate.run import Effort, calibrate
from calibrate.summary import describe
from engine.configuration import Configuration
from engine.errors import SpecBranchError
from engine.models.deepening import remarks
from engine.models.specs import ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import Pair, open_pair
from engine.runtime.placement import PLACEMENTS
from engine.runtime.worker_process import Host
from reports.bench.benchmark import bench
from reports.bench.benchmark_effort import BenchmarkEffort, Prompts
from reports.bench.benchmark_record import Benchmark, figures
from reports.bench.contestants import MODES
from reports.verify.plan import Plan
from reports.verify.run import verify
from sim.search.grid import Grid
from sim.search.tune import tune
from sim.search.tuned import TunedConfiguration
from sim.world.explained import describe as describe_share

EFFORT = Effort(
    "check", 6, 64, SamplingBudget(2, seconds=40.0, together_seconds=0.15), sampled=32, rehearsals=6
)
# Two settings of each method leave out transformers' static cache, which it compiles for minutes on a GPU.
BENCHMARK = BenchmarkEffort(
    "check",
    first=1,
    more=0,
    kept=1,
    sampled=0,
    trial_tokens=24,
    prompts={"greedy": 3, "sampled": 2},
    tokens={"greedy": 48, "sampled": 32},
    candidates=2,
)
GRID = Grid(draft_lengths=(1, 2, 4, 6), branches=(1, 4), cuts=(0.0,), bounds=(0.4,))
EXACT_TOKENS, EXACT_PROMPTS = 32, 2
POLICIES = (
    Configuration(policy="speculative", draft_length=4),
    Configuration(policy="pearl", draft_length=3),
    Configuration(policy="specbranch", draft_length=4, branches=4, adaptive_branches=False),
)


def devices(host: Host) -> list[dict[str, Any]]:
    """The CUDA devices that a worker sees."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append(
            {
                "name": facts.name,
                "memory_bytes": facts.total_memory,
                "multiprocessors": facts.multi_processor_count,
                "cuda": torch.version.cuda,
            }
        )
    return found


def check(
    target: ModelSpec,
    drafts: Mapping[str, ModelSpec],
    prompts: Sequence[Prompt],
    out: Path,
    say: Callable[[str], None],
    effort: Effort = EFFORT,
    grid: Grid = GRID,
    raced: BenchmarkEffort = BENCHMARK,
) -> dict[str, Any]:
    """Run everything on `prompts`, half to calibrate and half to verify; returns and writes what was measured.

    `raced`: how much of a benchmark, in which every policy meets transformers.
    `out` is written after each step, so that a step that fails takes nothing along. SpecBranchError if a policy
    writes another text than the target alone does in float32.
    """
    began = time.monotonic()
    half = len(prompts) // 2
    record: dict[str, Any] = {"hardware": hardware(), "software": software(), "remarks": remarks(target)}
    for remark in remarks(target):
        say(remark)

    def note(step: str, found: Any) -> None:
        record[step] = found
        record["seconds"] = time.monotonic() - began
        write_whole(out, json.dumps(record).encode())
        say(f"{record['seconds']:.0f} s: {step} done")

    exact = target.model_copy(update={"precision": "float32"})
    with open_pair(exact, drafts) as (pair, tokenizer):
        player, _ = pair.players("in-turn", None)
        note("devices", player.worker.call(devices))
        exactness = _exactness(pair, tokenizer, prompts[half:][:EXACT_PROMPTS])
    say(f"float32: {exactness['identical']} of {exactness['texts']} texts identical")
    note("exactness", exactness)
    folder = out.with_suffix("")
    with open_pair(target, drafts) as (pair, tokenizer):
        artifact = calibrate(pair, tokenizer, prompts[:half], effort, folder)
        for line in [*describe(artifact), *describe_share(artifact)]:
            say(line)
        note("calibration", artifact.described())
        tuned = TunedConfiguration.of(tune(artifact, grid, jobs=1), folder, artifact.digest)
        say(tuned.advice)
        verification = verify(
            pair, tokenizer, artifact, tuned, prompts[half:], Plan(effort.tokens, repeats=1)
        ).verification
        note("verification", verification.model_dump(mode="json"))
        given = Prompts(tuple(prompts[:half]), tuple(prompts[half:]))
        found = bench(
            pair, tokenizer, given, raced, folder / "benchmark.json", command="specbranch hardware-check"
        )
    for line in _race(found):
        say(line)
    note("benchmark", found.model_dump(mode="json"))
    if exactness["identical"] < exactness["texts"]:
        raise SpecBranchError(f"the engine is not exact on this machine: {exactness}; see {out}.")
    return record


def _race(found: Benchmark) -> Iterator[str]:
    """The benchmark in brief, fastest first, on all that the machine has."""
    for mode in MODES:
        yield f"{mode}, {found.budgets[2]}:"
        for row in figures(found, 2, mode):
            yield (
                f"  {row.row.contestant.label()}: {row.speed.value:.1f} tokens/s "
                f"({row.speed.low:.1f} to {row.speed.high:.1f}), {row.speed_up.value:.2f} x autoregressive"
            )


def _exactness(pair: Pair, tokenizer: Tokenizer, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """How many texts of every policy, draft and placement are the target's own; on CUDA in all placements there are."""
    texts = identical = 0
    warnings: list[str] = []
    placements = PLACEMENTS if pair.cuda_devices else placements_of(pair)
    for prompt in prompts:
        ids = tokenizer.encode(prompt.text)
        alone = pair.generate(
            Configuration(policy="autoregressive", placement="in-turn"), ids, max_tokens=EXACT_TOKENS
        )
        for draft in pair.drafts:
            for placement in placements:
                for policy in POLICIES:
                    chosen = policy.model_copy(update={"draft": draft, "placement": placement})
                    run = pair.generate(chosen, ids, max_tokens=EXACT_TOKENS)
                    texts += 1
                    identical += run.tokens == alone.tokens
                    warnings += [run.warning] if run.warning else []
    return {
        "prompts": len(prompts),
        "tokens": EXACT_TOKENS,
        "texts": texts,
        "identical": identical,
        "warnings": warnings,
    }
