"""The judge's step: verdicts on stored episodes (sim_judgements)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.tables import Built, Tell, latest_or_empty, published_or_empty
from pipelines.evaluation.simulation import questions as asking
from pipelines.evaluation.simulation.questions import Known, Material, Subject
from pipelines.simulation.brief import version_of
from pipelines.simulation.domains import domain
from pipelines.simulation.naming import holds_title
from warehouse.store import Warehouse
from warehouse.tables.simulation import (
    SIM_EPISODES,
    SIM_ITEMS,
    SIM_JUDGEMENTS,
    SIM_PERSONAS,
    SIM_TURNS,
    TRAITS,
)

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.llm.requests import LlmRequest

# Raise it when other questions would be asked, or their answers read otherwise.
JUDGING_VERSION = "1"

# Beginnings of the gateway's reasons for an answer that will not come however often it is asked; others pass.
_FINAL = ("refused:", "invalid:", "too long:")


def build_judgements(warehouse: Warehouse, gateway: LlmGateway | None, limit: int, tell: Tell) -> Built:
    """Ask the judge about the published episodes: sim_judgements.

    `limit`: episodes of each domain, agent and simulator at most, drawn by hash; 0 for all. A judgement whose question is the same as the stored one's is kept and not asked about again; one that is no
    longer wanted goes (its answer stays in the gateway's cache); a question that could not be asked this time has no row, and is asked by the next run. Without a `gateway` nothing is asked: judgements of
    episodes that are still there, and fit to be judged, stay.
    """
    episodes = published_or_empty(warehouse, SIM_EPISODES)
    stored = latest_or_empty(warehouse, SIM_JUDGEMENTS)
    fit = asking.drawn(episodes, 0)["episode_id"].implode()
    stored = stored.filter(
        pl.col("episode_id").is_in(fit) & (pl.col("against_id").is_null() | pl.col("against_id").is_in(fit))
    )
    if gateway is None:
        tell(f"no language model is configured: no episode is judged, {stored.height:,} earlier judgements stay")
        return Built((warehouse.write(SIM_JUDGEMENTS, stored),), {"asked": 0, "rows": stored.height})
    chosen = asking.drawn(episodes, limit)
    wanted = list(asking.requests(chosen, material(warehouse, episodes, chosen)))
    model = gateway.settings.model
    hashes = {subject.key: _hash(model, request) for subject, request in wanted if request is not None}
    known = _known(stored)
    new = [
        (subject, request) for subject, request in wanted if request and hashes[subject.key] not in known[subject.key]
    ]
    tell(
        f"judging {chosen.height:,} episodes: {len(hashes):,} questions, {len(hashes) - len(new):,} of them judged before"
    )
    run = gateway.answer([request for _, request in new], tell)
    if run.stopped:
        tell(f"judging: not all were asked: {run.stopped}")
    whose = {row["episode_id"]: row for row in chosen.iter_rows(named=True)}
    made: list[dict[str, Any]] = []
    waiting = 0
    for subject, request in wanted:
        own = whose[subject.episode_id]
        if request is None:
            made += _rows(subject, own, None, asking.NO_ITEM, None, None)
            continue
        key = subject.key
        if hashes[key] in known[key]:
            made += known[key][hashes[key]]
        elif key in run.answers:
            answer = run.answers[key]
            made += _rows(subject, own, answer.value, None, answer.model, hashes[key])
        elif run.unanswered.get(key, "").startswith(_FINAL):
            made += _rows(subject, own, None, run.unanswered[key], model, hashes[key])
        else:
            waiting += 1
    frame = SIM_JUDGEMENTS.frame(made)
    outcomes = Counter(
        f"{measure} {'usable' if value is not None else 'without value'}"
        for measure, value in frame.select("measure", "value").iter_rows()
    )
    counts: dict[str, float] = {f"language model: {label}": figure for label, figure in run.counts.items()}
    counts |= {"episodes": chosen.height, "asked": len(new), "judged before": len(hashes) - len(new)}
    counts["without answer for now"] = waiting
    counts |= dict(sorted(outcomes.items()))
    return Built((warehouse.write(SIM_JUDGEMENTS, frame),), {**counts, "rows": frame.height})


def judging_requests(warehouse: Warehouse, limit: int) -> list[LlmRequest]:
    """All questions of this step, answered before or not: for forecasts."""
    episodes = published_or_empty(warehouse, SIM_EPISODES)
    chosen = asking.drawn(episodes, limit)
    asked = asking.requests(chosen, material(warehouse, episodes, chosen))
    return [request for _, request in asked if request is not None]


def material(warehouse: Warehouse, episodes: pl.DataFrame, chosen: pl.DataFrame) -> Material:
    """What questions about the `chosen` episodes are made of: their turns and their references', and what is known about items and people in them."""
    of_tasks = episodes.join(chosen.select("task_id").unique(), on="task_id", how="semi")
    columns = ["episode_id", "turn", "domain", "role", "action", "text", "retrieved"]
    turns = published_or_empty(warehouse, SIM_TURNS, columns)
    turns = turns.join(of_tasks.select("episode_id"), on="episode_id", how="semi").sort("episode_id", "turn")
    said: dict[str, list[Mapping[str, Any]]] = {}
    for row in turns.iter_rows(named=True):
        said.setdefault(row["episode_id"], []).append(row)
    shown = turns.select("domain", item_id="retrieved").explode("item_id").drop_nulls().unique()
    items = published_or_empty(warehouse, SIM_ITEMS, ["domain", "item_id", "title", "text"])
    items = items.join(shown, on=["domain", "item_id"], how="semi")
    personas = published_or_empty(warehouse, SIM_PERSONAS, ["persona_id", *TRAITS])
    personas = personas.join(of_tasks.select("persona_id").unique(), on="persona_id", how="semi")
    return Material(
        episodes={row["episode_id"]: row for row in of_tasks.sort("episode_id").iter_rows(named=True)},
        turns=said,
        items={
            (row["domain"], row["item_id"]): Known(row["title"], row["text"]) for row in items.iter_rows(named=True)
        },
        people={
            row["persona_id"]: {trait: row[trait] for trait in TRAITS if row[trait]}
            for row in personas.iter_rows(named=True)
        },
        words=lambda name: domain(name).as_data(),
        named=lambda text, known: [item for item in known if holds_title(text, item.title)],
    )


def _hash(model: str, request: LlmRequest) -> str:
    from pipelines.gateways.llm.requests import request_hash

    return request_hash(model, request, request.prompt.messages(request.data))


def _known(stored: pl.DataFrame) -> defaultdict[str, dict[str, list[dict[str, Any]]]]:
    """Stored rows by subject and request."""
    known: defaultdict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for row in stored.filter(pl.col("request_hash").is_not_null()).iter_rows(named=True):
        subject = Subject(row["measure"], row["episode_id"], row["turn"], row["against_id"], row["is_first"])
        known[subject.key].setdefault(row["request_hash"], []).append(row)
    return known


def _rows(
    subject: Subject,
    episode: Mapping[str, Any],
    answer: object,
    problem: str | None,
    model: str | None,
    request_hash: str | None,
) -> list[dict[str, Any]]:
    """Rows of SIM_JUDGEMENTS for one question: one a dimension."""
    from pipelines.gateways.llm.runs import is_stand_in

    return [
        {
            "judgement_id": asking.judgement_id(subject, dimension, request_hash or "nothing asked"),
            "episode_id": subject.episode_id,
            **{name: episode[name] for name in ("domain", "agent", "simulator")},
            "measure": subject.measure,
            "dimension": dimension,
            "turn": subject.turn,
            "against_id": subject.against_id,
            "is_first": subject.is_first,
            "value": value,
            "reason": asking.reason(answer),
            "problem": problem or (None if value is not None else "the answer names no usable value"),
            "model": model,
            "is_stand_in": model is not None and is_stand_in(model),
            "prompt_version": version_of(subject.prompt),
            "request_hash": request_hash,
        }
        for dimension, value in asking.values(subject, answer).items()
    ]
