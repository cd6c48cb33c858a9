"""What `docs/inputs.md` says of inputs that once failed is tested where it says."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def test_every_input_that_once_failed_has_its_test() -> None:
    page = (TESTS.parent / "docs" / "inputs.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert rows
    for row in rows:
        (file, test), *others = NAMED.findall(row)
        assert not others
        assert f"def {test}(" in (TESTS / file).read_text(encoding="utf-8"), row
