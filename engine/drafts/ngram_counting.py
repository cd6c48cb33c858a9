"""Count the n-grams of text that a target writes itself (`engine.policies.ngrams`), and how often they are right."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.drafts.distill import chat_encoder, end_tokens, load_target
from engine.drafts.distilled import fingerprint
from engine.drafts.self_written import Shard, TextPlan, held_out_text, written_text
from engine.policies.ngrams import FORMAT, LONGEST, VERSION, NGrams, count_ngrams
from engine.progress import Show
from engine.tensor_files import save_tensors


@dataclass(frozen=True)
class Counted:
    """A file of n-grams: how many, and of how many tokens.

    On `positions` of text on held-out prompts they guess so many times (`guessed`), and are `right` so many times.
    """

    path: Path
    ngrams: int
    text_tokens: int
    positions: int
    guessed: int
    right: int


def count_of_target(
    target_folder: Path, out: Path, *, cache: Path, plan: TextPlan, threads: int, progress: Show
) -> Counted:
    """Let the Llama model in `target_folder` write the plan's text, count its n-grams and write them to `out`.

    The folder `cache` keeps the text, which is that of `engine.drafts.distill`, as far as there are as many prompts. So
    an interrupted call continues. SpecBranchError as `distill`.
    """
    torch.set_num_threads(threads)
    target = load_target(target_folder)
    encode, _ = chat_encoder(target_folder)
    ends = end_tokens(target)
    folder = cache / "text"
    text = written_text(
        target, encode, ends, folder, plan, lambda done, total: progress("writing text", done, total)
    )
    ngrams = count_ngrams((row.tokens.tolist(), row.prompt) for shard in text for row in shard.rows())
    tokens = sum(len(shard.hidden) for shard in text)
    how: dict[str, object] = {
        "prompts": plan.prompts,
        "answer_tokens": plan.answer_tokens,
        "tokens": tokens,
        "seed": plan.seed,
    }
    how |= {"target": fingerprint(target.state_dict())}
    save_ngrams(out, ngrams, target.config.vocab_size, how)
    positions, guessed, right = judge(ngrams, held_out_text(target, encode, ends, folder, plan))
    return Counted(out, len(ngrams), tokens, positions, guessed, right)


def judge(ngrams: NGrams, text: Shard) -> tuple[int, int, int]:
    """Positions of a text's answers, at how many of them one token is guessed, and at how many rightly."""
    positions = guessed = right = 0
    for row in text.rows():
        tokens = row.tokens.tolist()
        for at in range(row.prompt, len(tokens)):
            guess = ngrams.go_on(tokens[max(0, at - LONGEST) : at], 1)
            positions, guessed = positions + 1, guessed + len(guess)
            right += guess == (tokens[at],)
    return positions, guessed, right


def save_ngrams(path: Path, ngrams: NGrams, vocabulary: int, how: Mapping[str, object]) -> None:
    """Write a file of safetensors: int [count, n + 1] for each n, the tokens before and the one behind them."""
    kind = torch.int32 if vocabulary > 1 << 16 else torch.uint16
    tables = {
        f"{length}": torch.tensor([(*before, token) for before, token in found.items()]).reshape(
            -1, length + 1
        )
        for length, found in ngrams.following.items()
    }
    header = {
        "format": FORMAT,
        "version": VERSION,
        "vocabulary": str(vocabulary),
        "how": json.dumps(dict(how)),
    }
    save_tensors(path, {name: table.to(kind) for name, table in tables.items()}, header)
    path.chmod(0o644)  # safetensors makes files that only their owner can read; one of them is shipped
