"""The page that shows the outcomes of an audit: one HTML file that needs nothing else.

Belongs here: grouping and wording. Does not belong here: what stands where (`report.html.jinja`), looks (`warehouse/pages/`), and
the checks themselves.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from warehouse.pages.rendering import rendered
from warehouse.quality.run import Outcome


@dataclass(frozen=True)
class _Section:
    table: str
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.status == "passed"]

    @property
    def remarkable(self) -> list[Outcome]:
        """All that did not pass, the worst first."""
        return sorted((each for each in self.outcomes if each.status != "passed"), key=_rank)

    @property
    def errors(self) -> int:
        return sum(each.is_blocking for each in self.outcomes)

    @property
    def warnings(self) -> int:
        return sum(each.status == "failed" and not each.is_blocking for each in self.outcomes)

    @property
    def errored(self) -> int:
        return sum(each.status == "errored" for each in self.outcomes)

    @property
    def rows(self) -> int | None:
        return max((each.rows for each in self.outcomes if each.rows is not None), default=None)

    @property
    def words(self) -> str:
        checks = _count(len(self.outcomes), "check")
        rows = "" if self.rows is None else f"{_count(self.rows, 'row')}, "
        return f"{rows}{checks} in {sum(each.seconds for each in self.outcomes):.1f} s"


def _rank(outcome: Outcome) -> int:
    if outcome.is_blocking:
        return 0
    return 1 if outcome.status == "failed" else 2


_STYLES = ("bad", "warn", "unrun")


def _style(outcome: Outcome) -> str:
    return "good" if outcome.status == "passed" else _STYLES[_rank(outcome)]


def _status_words(outcome: Outcome) -> str:
    return "could not run" if outcome.status == "errored" else outcome.status


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _verdict(sections: list[_Section]) -> dict[str, str]:
    errors, warnings, errored = (
        sum(getattr(each, name) for each in sections) for name in ("errors", "warnings", "errored")
    )
    parts = [_count(warnings, "warning")] * bool(warnings)
    parts += [f"{_count(errored, 'check')} could not run"] * bool(errored)
    rest = f"; {', '.join(parts)}" if parts else ""
    if errors:
        return {"style": "bad", "words": f"{_count(errors, 'check')} found data that is wrong{rest}."}
    if not sections:
        return {"style": "unrun", "words": "Nothing was checked."}
    if warnings:
        return {"style": "warn", "words": f"Nothing is wrong; worth a look: {', '.join(parts)}."}
    if errored:
        return {"style": "unrun", "words": f"Nothing wrong was found, but {', '.join(parts)}."}
    return {"style": "good", "words": "Every check passed."}


def write_report(
    outcomes: Iterable[Outcome], path: Path, title: str = "Quality of the warehouse", made_at: str = ""
) -> None:
    """Write the page about `outcomes` to `path`, replacing what was there in one step.

    Tables come in the order of their first outcome; `made_at` is when, and of what, in words. Raises OSError
    when the file cannot be written.
    """
    grouped: dict[str, list[Outcome]] = {}
    for each in outcomes:
        grouped.setdefault(each.table, []).append(each)
    sections = [_Section(table, tuple(found)) for table, found in grouped.items()]
    page = rendered(
        "warehouse.quality",
        "report.html.jinja",
        title=title,
        made_at=made_at,
        verdict=_verdict(sections),
        tiles=[
            {"number": sum(len(each.passed) for each in sections), "words": "checks passed"},
            {"number": sum(each.errors for each in sections), "words": "errors: wrong data"},
            {"number": sum(each.warnings for each in sections), "words": "warnings: odd data"},
            {"number": sum(each.errored for each in sections), "words": "could not run"},
        ],
        sections=sections,
        styles=_style,
        words=_status_words,
    )
    _replace(Path(path), page)


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        # Lone surrogates cannot be written as UTF-8; data may hold them.
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
