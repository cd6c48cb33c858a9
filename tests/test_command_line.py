"""The command line as a stranger meets it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def specbranch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "specbranch.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_simulate_prints_one_json_document() -> None:
    done = specbranch("simulate", "scenarios/default.yaml", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["outcomes"][0]["configuration"]["policy"] == "autoregressive"


def test_errors_are_one_sentence(tmp_path: Path) -> None:
    wrong = tmp_path / "s.yaml"
    wrong.write_text((ROOT / "scenarios/default.yaml").read_text().replace("pearl", "perl"))
    for file, says in ((wrong, "did you mean 'pearl'"), (tmp_path / "none.yaml", "cannot be read")):
        done = specbranch("simulate", str(file))
        assert done.returncode == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_simulate_does_not_import_torch() -> None:
    code = "import sys, specbranch, sim.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
