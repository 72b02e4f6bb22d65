"""Running the assets from the command line: in this process, recorded in dagster's instance, with a display."""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from assets.build.plan import mark_complete
from assets.groups import BEFORE_SIMULATION, GROUPS, PARTITIONED, REFRESHED, SIMULATED
from assets.settings import (
    PROJECT,
    Settings,
    llm_settings,
    llm_thinking,
    scale_name,
    simulation_split,
    stand_in_environment,
)
from warehouse.store import Warehouse

if TYPE_CHECKING:
    import dagster as dg


# Tags of a run: who started it, on what, and in which process.
_STARTED_BY, _WAREHOUSE, _PROCESS = "marquee/started_by", "marquee/warehouse", "marquee/process"
_COMMAND_LINE = "command line"

# What a step says with one of these stays on the screen.
_SHOWN = ("refused", "not published", "skipped", "could not", "gone", "warning", "no language model")


class ConsoleDisplay:
    """Steps as lines on a terminal: a spinner with what is being done while it lasts, one line when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("starting")
        self._is_live = console.is_terminal

    def __enter__(self) -> ConsoleDisplay:
        if self._is_live:
            self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._status.stop()

    def started(self, step: str) -> None:
        """Show that a step has begun."""
        self._status.update(f"[bold]{step}[/bold]")
        if not self._is_live:
            self._console.print(f"  {step} ...", highlight=False)

    def told(self, step: str, text: str) -> None:
        """Show what the step is doing; warnings and refusals stay on the screen."""
        from rich.markup import escape

        self._status.update(f"[bold]{step}[/bold]  {escape(text)[:110]}")
        if any(word in text for word in _SHOWN):
            self._console.print(f"    [yellow]{escape(text)}[/yellow]", highlight=False)

    def finished(self, step: str, seconds: float, is_done: bool) -> None:
        """Leave a line behind."""
        mark = "[green]✓[/green]" if is_done else "[red]✗[/red]"
        self._console.print(f"{mark} {step:<18} {seconds:6.1f} s", highlight=False)


def run_assets(settings: Settings, groups: Sequence[str] | None, full: bool, has_stand_in: bool = False) -> int:
    """Materialize the assets of `groups` (all when None); returns the exit code.

    With `has_stand_in`, the stand-in answers in place of a language model while the run lasts.
    """
    wanted = {name for group in groups or GROUPS for name in GROUPS[group]}
    is_complete = groups is None or set(REFRESHED) <= set(groups)
    return run_phases(settings, partial(phases, wanted), {"full": full}, is_complete, has_stand_in)


def run_phases(
    settings: Settings,
    parts: Callable[[], Sequence[Phase]],
    config: Mapping[str, Any],
    is_complete: bool = False,
    has_stand_in: bool = False,
) -> int:
    """Run what `parts` names, with a display; returns the exit code. `is_complete`: whether a refresh would have nothing left to do after it.

    Raises SettingsError.
    """
    # A setting that cannot be used is found out now, and not by the step that needs it.
    scale_name(), simulation_split(), llm_settings(), llm_thinking()
    if has_stand_in:
        from pipelines.gateways.stand_in.server import StandIn

        before = dict(os.environ)
        with StandIn() as stand_in:
            os.environ.update(stand_in_environment(stand_in.base_url))
            try:
                return run_phases(settings, parts, config, is_complete)
            finally:
                os.environ.clear()
                os.environ.update(before)
    # What is piped keeps its lines whole: a path that is broken in two cannot be copied.
    console = Console(stderr=True, soft_wrap=True)
    if not settings.sources.is_dir():
        console.print(f"[red]marquee: there is no folder of sources at {settings.sources}[/red]", highlight=False)
        return 2
    started = time.monotonic()
    os.environ["MARQUEE_SOURCES"], os.environ["MARQUEE_WAREHOUSE"] = (
        str(settings.sources),
        str(settings.warehouse),
    )
    with ConsoleDisplay(console) as display:
        # Two runs write one after the other; the second waits here, before it looks at anything.
        waiting = Warehouse(settings.warehouse).lock(
            on_wait=lambda holder: console.print(f"waiting for another run: {holder}", highlight=False)
        )
        with waiting:
            # dagster.yaml names its folders relative to where it lies.
            home = Path(os.environ.get("DAGSTER_HOME") or PROJECT).absolute()
            with chdir(home):
                problems = _execute(display, home, settings, parts(), config)
            if not problems and is_complete:
                mark_complete(settings.warehouse)
    if problems:
        for problem in problems:
            console.print(f"[red]✗ {problem}[/red]", highlight=False, markup=True)
        console.print("what was published before stays published", highlight=False)
        return 1
    _say_what_was_built(settings, time.monotonic() - started)
    return 0


def _bury_the_dead(instance: dg.DagsterInstance, warehouse: Path) -> None:
    """End the command line's runs that dagster still takes for running though they were killed, and free their slots in the pools.

    Their slots would never come free, and the next run would wait for them without end. To be called under the lock of `warehouse`: a run
    on it would hold that lock if it lived. Of runs on other warehouses, those are dead whose process is gone.
    """
    import dagster as dg

    started = dg.RunsFilter(tags={_STARTED_BY: _COMMAND_LINE}, statuses=[dg.DagsterRunStatus.STARTED])
    for run in instance.get_runs(started):
        if run.tags.get(_WAREHOUSE) == str(warehouse) or not _is_alive(run.tags.get(_PROCESS, "")):
            instance.report_run_failed(run, "its process was killed")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(process: str) -> bool:
    """Whether there is a process of this name (host/pid); of another host nobody can tell, so it counts as alive."""
    host, _, pid = process.rpartition("/")
    if host and host != platform.node():
        return True
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # there is one, and it is somebody else's
        return True
    return True


@dataclass(frozen=True)
class Phase:
    """A part of a run: a job, the groups of it that are made, and its partitions. A job can have partitions of one kind only."""

    job: str
    groups: frozenset[str]
    tags: Mapping[str, Any]


def phases(wanted: Set[str]) -> list[Phase]:
    """The parts of a run that makes the groups `wanted`: what simulations need, the simulations, and everything else."""
    from assets.automation import ALL_DATASETS, EVERYTHING_JOB, SIMULATION_JOB, simulations

    def by_dataset(groups: Set[str]) -> list[Phase]:
        return (
            [Phase(EVERYTHING_JOB, frozenset(groups), ALL_DATASETS if groups & PARTITIONED else {})] if groups else []
        )

    if not wanted & SIMULATED:
        return by_dataset(wanted)
    return [
        *by_dataset(wanted & BEFORE_SIMULATION),
        Phase(SIMULATION_JOB, frozenset(SIMULATED), simulations()),
        *by_dataset(wanted - BEFORE_SIMULATION - SIMULATED),
    ]


def _execute(
    display: ConsoleDisplay, home: Path, settings: Settings, parts: Sequence[Phase], config: Mapping[str, Any]
) -> list[str]:
    """Run jobs one after the other, until something goes wrong; returns what went wrong, in words.

    `config`: of every step that takes some of its keys.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    from assets.definitions import defs
    from assets.progress import DISPLAY

    instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home)))
    graph = defs.resolve_asset_graph()
    tags = {
        _STARTED_BY: _COMMAND_LINE,
        _WAREHOUSE: str(settings.warehouse),
        _PROCESS: f"{platform.node()}/{os.getpid()}",
    }
    _bury_the_dead(instance, settings.warehouse)
    token = DISPLAY.set(display)
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    try:
        for part in parts:
            keys = [key for key in graph.materializable_asset_keys if graph.get(key).group_name in part.groups]
            job = defs.resolve_job_def(part.job)
            result = job.execute_in_process(
                run_config={
                    "ops": _configured(job, config),
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                instance=instance,
                asset_selection=keys,
                raise_on_error=False,
                tags={**tags, **part.tags},
            )
            if problems := _problems(result):
                return problems
    finally:
        DISPLAY.reset(token)
        instance.dispose()
    return []


def _configured(job: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration of the steps of a job: of `config` the keys that each of them knows."""
    found = {}
    for node in job.all_node_defs:
        fields = getattr(node.config_schema.config_type, "fields", None) or {}
        if known := {key: value for key, value in config.items() if key in fields}:
            found[node.name] = {"config": known}
    return found


def _problems(result) -> list[str]:
    from rich.markup import escape

    found = [
        f"{check.asset_key.to_user_string()}.{check.check_name}: {check.description or 'failed'}"
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity.value == "ERROR"
    ]
    if not found and not result.success:
        for event in result.filter_events(lambda event: event.is_step_failure):
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            found.append(f"{event.step_key}: {cause.message.strip() if cause else 'failed'}")
    if not found and result.success:
        skipped = [event.step_key for event in result.filter_events(lambda event: event.is_step_skipped)]
        found += [f"{step}: did not run, because something before it made nothing" for step in skipped]
    return [escape(problem) for problem in found] or ([] if result.success else ["the run failed"])


def _say_what_was_built(settings: Settings, seconds: float) -> None:
    from warehouse.sql import query, tables

    console = Console(width=None if sys.stdout.isatty() else 120)
    rows = {row["name"]: row["rows"] for row in tables(settings.warehouse).iter_rows(named=True)}
    console.print()
    if "core_movies" in rows:
        records = rows.get("core_title_records", 0)
        read = query(
            settings.warehouse,
            "SELECT count(DISTINCT source) s, count(DISTINCT file) f, coalesce(sum(rows_in), 0) n FROM meta_row_accounting",
        ).row(0)
        console.print(
            f"{rows['core_movies']:,} films from {records:,} records of {read[0]} sources ({read[1]} files, {read[2]:,} rows) in {seconds:.0f} s"
        )
        console.print(
            f"{rows.get('core_movies_complete', 0):,} of them complete (director, cast, genre and plot); {rows.get('raw_rejects', 0):,} rows rejected, in raw_rejects"
        )
    if rows.get("core_turns"):
        _say_what_was_spoken(settings, console, rows)
    if rows.get("sim_episodes"):
        _say_what_was_simulated(settings, console, rows)
    console.print(f"warehouse: {settings.warehouse}", highlight=False, soft_wrap=True)
    option = "" if settings.warehouse == PROJECT / "data" / "warehouse" else f" --warehouse {settings.warehouse}"
    console.print("try:", highlight=False)
    for text in (
        "SELECT title, year, directors, source_count FROM core_movies ORDER BY source_count DESC, votes DESC LIMIT 10",
        "SELECT source, count(*) AS records, count(DISTINCT movie_id) AS films FROM core_movie_links GROUP BY source ORDER BY records DESC",
        *(
            ["SELECT dataset, decided_by, count(*) AS turns FROM anno_turns GROUP BY ALL ORDER BY ALL"]
            if rows.get("anno_turns")
            else []
        ),
    ):
        console.print(f'  .venv/bin/marquee sql{option} "{text}"', highlight=False, soft_wrap=True)


def _say_what_was_spoken(settings: Settings, console: Console, rows: dict[str, int]) -> None:
    """What is there of conversations, in lines."""
    from warehouse.sql import query

    datasets = query(settings.warehouse, "SELECT count(DISTINCT dataset) FROM core_dialogues").item()
    console.print(
        f"{rows['core_dialogues']:,} dialogues of {datasets} datasets, {rows['core_turns']:,} turns; "
        f"{rows.get('core_film_mentions', 0):,} mentions of films"
    )
    if rows.get("anno_turns"):
        rules, model, stand_in, people = query(
            settings.warehouse,
            "SELECT count(*) FILTER (decided_by = 'heuristic'), count(*) FILTER (decided_by = 'llm' AND NOT is_stand_in), "
            "count(*) FILTER (is_stand_in), count(*) FILTER (decided_by = 'human') FROM anno_turns",
        ).row(0)
        by = {"rules": rules, "a language model": model, "the stand-in, which is no model": stand_in, "people": people}
        shares = ", ".join(f"{number / rows['anno_turns']:.0%} by {who}" for who, number in by.items() if number)
        console.print(f"turns annotated: {shares or 'none'}; {rows.get('pref_pairs', 0):,} preference pairs")


def _say_what_was_simulated(settings: Settings, console: Console, rows: dict[str, int]) -> None:
    """What is there of simulated conversations, in a line."""
    from warehouse.sql import query

    domains, agents, successes, counted, stand_in = query(
        settings.warehouse,
        "SELECT count(DISTINCT domain), count(DISTINCT agent), count(*) FILTER (is_success), count(*), count(*) FILTER (is_stand_in) "
        "FROM sim_episodes WHERE outcome <> 'leaked'",
    ).row(0)
    by = ", by the stand-in, which is no model" if stand_in else ""
    console.print(
        f"{rows['sim_episodes']:,} simulated conversations ({domains} domains, {agents} agents{by}); the target was named in "
        f"{successes / max(counted, 1):.0%}; {rows.get('pref_ecpo_pairs', 0):,} replies rewritten"
    )
