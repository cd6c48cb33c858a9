"""The verb that races our engine with serving engines."""

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.command_line import (
    AsJson,
    Deepen,
    Markdown,
    OwnPrompts,
    Quick,
    output_file,
    output_folder,
    stages,
    verb,
)
from engine.errors import ConfigurationError

app = typer.Typer()

LOADS, LENGTHS = "1,4,16", "0,2,4,8"
PROMPTS = 72  # of which the requests of a round are, in turn, if there are as many


@verb(
    app,
    "bench-load",
    "specbranch bench-load --markdown docs/load-benchmark.md",
    "specbranch bench-load --deepen 6 --rivals openvino --quick",
)
def bench_load(
    at_once: Annotated[str, typer.Option(help="how many requests are served together, load by load")] = LOADS,
    rivals: Annotated[str, typer.Option(help="engines to race; none: ours alone")] = "openvino,vllm",
    lengths: Annotated[
        str, typer.Option(help="draft lengths that a deepened pair's engines choose from; 0: no draft")
    ] = LENGTHS,
    rounds: Annotated[int, typer.Option(min=1, help="how often each load is served by each engine")] = 8,
    folder: Annotated[
        Path, typer.Option(help="where the rivals' environments and models are made", callback=output_folder)
    ] = Path(".bench"),
    out: Annotated[
        Path,
        typer.Option(
            help="the record to write; a pair's part of an earlier one is replaced", callback=output_file
        ),
    ] = Path("runs/load-bench.json"),
    quick: Quick = False,
    own: OwnPrompts = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="of each answer")] = 64,
    deepen: Deepen = 1,
    markdown: Markdown = None,
    as_json: AsJson = False,
) -> None:
    """Serve many requests with our engine, OpenVINO GenAI and vLLM in one interleaved run, on this machine's cores.

    Autoregressively on the default target, or (--deepen) on a deepened one with the plain one as its draft, each engine
    with the draft length that is best for it at each load. What a rival needs is installed into an environment of its
    own.
    """
    from calibrate.artifact import write_whole
    from calibrate.prompts import choose_prompts
    from reports.race.benchmark import Plan, load_record, save_record
    from reports.race.environments import RIVALS
    from reports.race.run import part_name, run_part
    from reports.race.tables import lines
    from reports.race.tables import markdown as describe

    def numbers(given: str, option: str, least: int) -> tuple[int, ...]:
        try:
            found = tuple(dict.fromkeys(int(word) for word in given.split(",")))
        except ValueError:
            found = ()
        if not found or min(found) < least:
            raise ConfigurationError(
                f"{option} takes whole numbers from {least} on, such as {LOADS}, and not '{given}'."
            )

        return found

    plan = Plan(
        numbers(at_once, "--at-once", 1),
        max_tokens,
        min(rounds, 2) if quick else rounds,
        numbers(lengths, "--lengths", 0) if deepen > 1 else (0,),
    )
    names = [name for name in rivals.split(",") if name not in ("", "none")]
    for name in names:
        if name not in RIVALS:
            nearest = difflib.get_close_matches(name, RIVALS, n=1)
            meant = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(RIVALS)}, or none."
            raise ConfigurationError(f"there is no rival '{name}'; {meant}")
    prompts = choose_prompts(own, "heldout", PROMPTS)
    before = load_record(out)
    command = " ".join(["specbranch", *sys.argv[1:]])
    with stages() as show:
        record = run_part(
            [RIVALS[name] for name in names], deepen, plan, prompts, folder.absolute(), command, before, show
        )
    save_record(out, record)
    if markdown:
        write_whole(markdown, describe(record).encode())
    print(record.model_dump_json() if as_json else "\n".join(lines(record.parts[part_name(deepen)])))
