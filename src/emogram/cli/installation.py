"""The command that examines the installation: doctor."""

from __future__ import annotations

from emogram.cli.options import Json
from emogram.cli.shared import print_json
from emogram.errors import EmogramError


def doctor(json: Json = False) -> int:
    """Check the installation: versions, extras, back end, cache, and whether sound can be read."""
    from emogram import console
    from emogram.doctor import examine

    checks = examine()
    if json:
        for check in checks:
            print_json({"check": check.name, "ok": check.ok, "found": check.found, "advice": check.advice})
    else:
        console.show(console.checks_table(checks))
    for check in checks:
        if not check.ok:
            console.error(f"{check.name}: {check.found}; {check.advice}")
    return 0 if all(check.ok for check in checks) else EmogramError.exit_code
