"""Print "N passed, N failed, N skipped" from a JUnit file; a missing file is one failure."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def count(path: Path) -> str:
    """Sum the suites of one JUnit file; errors in set-up or collection count as failures."""
    if not path.is_file():
        return "0 passed, 1 failed"
    total = failed = skipped = 0
    for suite in ET.parse(path).getroot().iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    passed = max(0, total - failed - skipped)
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


if __name__ == "__main__":
    print(count(Path(sys.argv[1])))
