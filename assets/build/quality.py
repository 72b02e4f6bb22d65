"""All checks on what is published, and the report of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from assets.contracts import FIXED
from warehouse.quality.report import write_report
from warehouse.quality.run import Outcome, audit, audit_across, cross_checks
from warehouse.quality.suites.every import SUITES
from warehouse.sql import query, tables


def check_everything(root: Path, report: Path) -> list[Outcome]:
    """Run every suite and every check across tables on the published versions, and write the HTML report.

    Raises QueryError when nothing is published.
    """
    published = tables(root)["name"].to_list()
    ask = partial(query, root)
    outcomes = [outcome for name in SUITES if name in published for outcome in audit(name, ask)]
    outcomes += audit_across(cross_checks(FIXED), ask, published)
    report.parent.mkdir(parents=True, exist_ok=True)
    write_report(outcomes, report)
    return outcomes
