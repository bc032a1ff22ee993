"""Look for known vulnerabilities in the pins of requirements/ by pip-audit: `scripts/audit`.

pip-audit passes over what its service cannot tell of, and says that nothing is known; here that is no success.
Runs by the standard library and pip-audit alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "requirements"
VULNERABLE = 1
UNKNOWN = 3


def main(arguments: Sequence[str], *, pins: Path = PINS) -> int:
    """Ask of all pins in a folder, with options of pip-audit that are given, and print; returns the exit code."""
    # One by one: it does not look into those that another names by -r.
    files = [word for path in sorted(pins.glob("*.txt")) for word in ("--requirement", str(path))]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *files, "--no-deps", "--disable-pip", "--format", "json",
         "--vulnerability-service", "osv", "--progress-spinner", "off", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        told = json.loads(done.stdout)
    except ValueError:  # a connection that fails is a bug to pip-audit
        last = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        print(f"the service of advisories was not reached, so that nothing is known: {last[0][:300]}", file=sys.stderr)
        return UNKNOWN
    return judge(told)


def judge(told: Mapping[str, Any]) -> int:
    """Print what pip-audit found and return the exit code.

    Args:
        told: What it prints in JSON.
    """
    found = told["dependencies"]
    for each in found:
        for one in each.get("vulns", ()):
            mended = f"mended in {', '.join(one['fix_versions'])}" if one["fix_versions"] else "not mended yet"
            print(f"{each['name']} {each['version']}: {one['id']}, {mended}")
    n_vulnerable = sum(bool(each.get("vulns")) for each in found)
    skipped = [each["name"] for each in found if "skip_reason" in each]
    print(f"{len(found)} pins, {n_vulnerable} with known vulnerabilities", file=sys.stderr)
    if n_vulnerable:
        return VULNERABLE
    if skipped or not found:
        print(f"nothing is known of {', '.join(skipped) or 'any'}", file=sys.stderr)
        return UNKNOWN
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
