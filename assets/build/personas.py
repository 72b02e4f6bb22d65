"""Personas and tasks of simulated users: inferred from reviews, released by others, and drawn at random for comparison.

Only users whose reviews (or the prompt) changed are asked about. Does not belong here: what is asked and how it is read (`pipelines/simulation/personas.py`), which items and
splits (`pipelines/simulation/tasks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.files import digest_of
from assets.build.sim_items import items as all_items
from assets.build.tables import Built, Tell, latest_or_empty, published_or_empty
from pipelines.simulation import personas as inferring
from pipelines.simulation import tasks as drawing
from pipelines.simulation.brief import prompt
from pipelines.simulation.diversity import largest_rouge_l, text_of
from pipelines.simulation.parts import Persona, Task
from pipelines.simulation.personas import Inferred, Written
from pipelines.simulation.tasks import Split
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.simulation import (
    CORE_REVIEW_ITEMS,
    CORE_REVIEW_TASKS,
    CORE_REVIEWS,
    PERSONA_ORIGINS,
    SIM_DOMAINS,
    SIM_ITEMS,
    SIM_PERSONAS,
    SIM_SPLITS,
    SIM_TASKS,
    TRAITS,
)

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.llm.requests import LlmRequest

PERSONAS_VERSION = f"{inferring.PERSONAS_VERSION}.{drawing.TASKS_VERSION}"

_KEY = ["domain", "item_id"]
_USER = ["domain", "user_id"]


def build_personas(warehouse: Warehouse, gateway: LlmGateway | None, users: int, split: Split, tell: Tell) -> Built:
    """Bring sim_personas and sim_tasks up to date with reviews, items and released tasks.

    `users`: how many of each domain get a persona inferred. `split`: `hash` puts every user into the split of its hash, those of released tasks as well; `released` keeps the
    release's, in which a user may stand in both, and makes no other tasks in its domains. Without a `gateway` nobody is asked, and personas whose
    reviews are the same stay.
    """
    reviews = published_or_empty(warehouse, CORE_REVIEWS)
    items = published_or_empty(warehouse, SIM_ITEMS, _KEY)
    targets = drawing.targets(reviews, items)
    written = _written(warehouse, reviews, _chosen(reviews, targets, users))
    counts: dict[str, float] = {}
    inferred = _inferred(warehouse, gateway, written, counts, tell)
    stated = published_or_empty(warehouse, CORE_REVIEW_TASKS)
    released, tasks = _released(stated, items, split, counts, tell)
    drawn = _random(inferred)
    rows = SIM_PERSONAS.conform(_with_diversity(pl.concat([inferred, released, drawn]), counts))
    # Beside the release's split there is no other in its domains: their users would stand in both.
    is_stated = pl.col("domain").is_in(tasks["domain"].unique().to_list() if split == "released" else [])
    made = _made(targets, inferred.filter(~is_stated), tasks)
    everything = pl.concat([tasks, made])
    for (domain, part, is_released), group in sorted(
        everything.with_columns(pl.col("released_split").is_not_null().alias("is_released"))
        .partition_by("domain", "split", "is_released", as_dict=True)
        .items()
    ):
        counts[f"{domain}, {part}: {'released ' if is_released else ''}tasks"] = group.height
        counts[f"{domain}, {part}: {'released ' if is_released else ''}users"] = group["user_id"].n_unique()
    return Built((warehouse.write(SIM_PERSONAS, rows), warehouse.write(SIM_TASKS, everything)), counts)


def persona_requests(warehouse: Warehouse, users: int) -> list[LlmRequest]:
    """What a run would ask first about each user, whether a persona of the user is stored or not: for forecasts."""
    reviews = published_or_empty(warehouse, CORE_REVIEWS)
    targets = drawing.targets(reviews, published_or_empty(warehouse, SIM_ITEMS, _KEY))
    written = _written(warehouse, reviews, _chosen(reviews, targets, users))
    return [
        replace(inferring.request(domain, each), key=f"{domain} {user}") for (domain, user), each in written.items()
    ]


def _chosen(reviews: pl.DataFrame, targets: pl.DataFrame, users: int) -> pl.DataFrame:
    """Users of whom personas are inferred: domain, user_id; with enough words and at least one target."""
    has_words = (pl.col("text") != "") | pl.col("headline").is_not_null()
    enough = reviews.filter(has_words).group_by(_USER).len().filter(pl.col("len") >= drawing.REVIEWS_MIN)
    candidates = enough.join(targets.select(_USER).unique(), on=_USER, how="semi")
    rows = [
        (domain, user)
        for domain in SIM_DOMAINS
        for user in drawing.chosen_users(
            candidates.filter(pl.col("domain") == domain)["user_id"].to_list(), domain, users
        )
    ]
    return pl.DataFrame(rows, schema={name: SIM_PERSONAS.schema[name] for name in _USER}, orient="row")


def _written(warehouse: Warehouse, reviews: pl.DataFrame, chosen: pl.DataFrame) -> dict[tuple[str, str], list[Written]]:
    """The reviews that are shown of each chosen user, by domain and user."""
    own = reviews.join(chosen, on=_USER, how="semi").sort("domain", "user_id", "position")
    titles = pl.concat(
        [
            published_or_empty(warehouse, CORE_REVIEW_ITEMS, [*_KEY, "title"]),
            published_or_empty(warehouse, CORE_MOVIES, ["movie_id", "title"]).select(
                pl.lit("film").alias("domain"), pl.col("movie_id").alias("item_id"), "title"
            ),
        ]
    )
    named = own.join(titles, on=_KEY, how="left", maintain_order="left")
    found: dict[tuple[str, str], list[Written]] = {(domain, user): [] for domain, user in chosen.iter_rows()}
    for row in named.iter_rows(named=True):
        review = Written(
            row["review_id"], row["title"] or "", row["rating"], row["headline"] or "", row["text"]
        )  # fmt: skip
        found[row["domain"], row["user_id"]].append(review)
    return {user: inferring.shown(each) for user, each in found.items()}


def _inferred(
    warehouse: Warehouse,
    gateway: LlmGateway | None,
    written: Mapping[tuple[str, str], Sequence[Written]],
    counts: dict[str, float],
    tell: Tell,
) -> pl.DataFrame:
    """Personas of the users of `written`: stored ones where reviews and prompt are the same, answers of the model for the others."""
    hashes = {user: _input_hash(user[0], each) for user, each in written.items()}
    wanted = pl.DataFrame(
        [(*user, digest) for user, digest in hashes.items()],
        schema={name: SIM_PERSONAS.schema[name] for name in (*_USER, "input_hash")},
        orient="row",
    )
    stored = latest_or_empty(warehouse, SIM_PERSONAS).filter(pl.col("origin") == "inferred")
    if gateway is not None and not _is_stand_in(gateway):
        # What the stand-in said is no more than a place-holder.
        stored = stored.filter(~pl.col("is_stand_in"))
    same = stored.join(wanted, on=[*_USER, "input_hash"], how="semi")
    missing = wanted.join(same, on=_USER, how="anti", maintain_order="left")
    counts |= {"personas kept": same.height, "personas inferred": 0}
    if missing.is_empty():
        return same
    if gateway is None:
        tell(f"no language model is configured: no persona is inferred, {same.height:,} earlier ones stay")
        return same
    tell(f"personas: asking the language model about {missing.height:,} users")
    names = {f"{domain} {user}": (domain, user) for domain, user in missing.select(_USER).iter_rows()}
    held = gateway.converse(
        {name: inferring.infer(user[0], written[user]) for name, user in names.items()}, lambda _: [], tell
    )
    if held.unfinished:
        tell(
            f"personas: {len(held.unfinished):,} users are without an answer for now: {next(iter(held.unfinished.values()))}"
        )
    rows = [_row(*names[name], found, len(written[names[name]]), hashes[names[name]]) for name, found in held.results.items() if found.traits]  # fmt: skip
    results: list[Inferred] = list(held.results.values())
    counts |= {f"language model: {label}": figure for label, figure in held.run.counts.items()}
    counts |= {
        "personas inferred": len(rows),
        "users without a usable answer": sum(not found.traits for found in results),
        "users without an answer for now": len(held.unfinished),
        "personas asked for again": sum(found.tries > 1 for found in results),
        "traits that nothing supports": sum(len(found.unsupported) for found in results),
        "personas with another domain's wording": sum(bool(found.foreign_words) for found in results),
    }
    return pl.concat([same, pl.DataFrame(rows, schema=SIM_PERSONAS.schema)])


def _is_stand_in(gateway: LlmGateway) -> bool:
    from pipelines.gateways.llm.runs import is_stand_in

    return is_stand_in(gateway.settings.model)


def _input_hash(domain: str, written: Sequence[Written]) -> int:
    """Hash of all that a persona is inferred from."""
    data = inferring.request(domain, written).data
    return _number(["inferred", inferring.PERSONAS_VERSION, prompt(inferring.PROMPT).digest, data])


def _number(stated: Any) -> int:
    """A hash that an Int64 holds."""
    return int(digest_of(stated), 16) >> 1


def _row(domain: str, user_id: str, found: Inferred, reviews: int, input_hash: int) -> dict[str, Any]:
    return {
        **_blank(domain, user_id, "inferred"),
        "persona_id": inferring.persona_id(domain, user_id, "inferred"),
        **found.traits,
        "support": [{"trait": name, "review_id": each} for name in TRAITS for each in found.support.get(name, ())],
        "reviews": reviews,
        "foreign_words": list(found.foreign_words),
        "model": found.model,
        "is_stand_in": found.is_stand_in,
        "prompt_version": inferring.prompt_name(),
        "request_hash": found.request_hash,
        "input_hash": input_hash,
    }


def _blank(domain: str, user_id: str, origin: str) -> dict[str, Any]:
    """A persona that nobody was asked about."""
    return {
        "domain": domain,
        "user_id": user_id,
        "origin": origin,
        "support": [],
        "reviews": 0,
        "foreign_words": [],
        "max_rouge_l": None,
        "model": None,
        "is_stand_in": False,
        "prompt_version": None,
        "request_hash": None,
    }


def _random(inferred: pl.DataFrame) -> pl.DataFrame:
    """As many random personas of each domain as were inferred: for comparison only."""
    rows = []
    for domain, number in inferred.group_by("domain").len().sort("domain").iter_rows():
        for at in range(number):
            user, traits = f"random-{at:04d}", inferring.random_traits(domain, at)
            rows.append(
                {
                    **_blank(domain, user, "random"),
                    "persona_id": inferring.persona_id(domain, user, "random"),
                    **traits,
                    "input_hash": _number(["random", traits]),
                }
            )
    return pl.DataFrame(rows, schema=SIM_PERSONAS.schema)


def _released(
    stated: pl.DataFrame, items: pl.DataFrame, split: Split, counts: dict[str, float], tell: Tell
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Personas and tasks that releases state: rows of SIM_PERSONAS and SIM_TASKS."""
    usable = stated.join(items, on=_KEY, how="semi").sort("file", "position")
    counts["released tasks whose item is unknown"] = stated.height - usable.height
    both = usable.group_by(_USER).agg(is_user_in_both=pl.col("released_split").n_unique() > 1)
    personas: dict[str, dict[str, Any]] = {}
    tasks: dict[str, dict[str, Any]] = {}
    for row in usable.join(both, on=_USER, how="left", maintain_order="left").iter_rows(named=True):
        domain, user, target = row["domain"], row["user_id"], row["item_id"]
        traits = {name: row[name] for name in TRAITS}
        persona = inferring.persona_id(domain, user, "released", traits)
        personas.setdefault(
            persona,
            {
                **_blank(domain, user, "released"),
                "persona_id": persona,
                **traits,
                "input_hash": _number(["released", traits]),
            },
        )
        task = drawing.task_id(domain, user, target, persona)
        tasks.setdefault(
            task,
            {
                "task_id": task,
                "domain": domain,
                "user_id": user,
                "persona_id": persona,
                "target_item": target,
                "split": row["released_split"] if split == "released" else drawing.split_of(user),
                "released_split": row["released_split"],
                "is_user_in_both": row["is_user_in_both"],
                "position": row["position"],
            },
        )
    shared = both.filter("is_user_in_both").height
    counts |= {
        "released tasks said twice": usable.height - len(tasks),
        "released users": both.height,
        "released users in both splits": shared,
    }
    if shared:
        kept = (
            "which the released split keeps: what is measured on test tasks is not of new users"
            if split == "released"
            else "so tasks go into the split of their user's hash"
        )
        tell(f"warning: {shared:,} of {both.height:,} users of released tasks stand in both train and test, {kept}")
    return pl.DataFrame(list(personas.values()), schema=SIM_PERSONAS.schema), pl.DataFrame(
        list(tasks.values()), schema=SIM_TASKS.schema
    )


def _made(targets: pl.DataFrame, inferred: pl.DataFrame, released: pl.DataFrame) -> pl.DataFrame:
    """Tasks of users with an inferred persona: rows of SIM_TASKS."""
    both = dict(released.select("user_id", "is_user_in_both").unique().iter_rows())
    joined = targets.join(inferred.select(*_USER, "persona_id"), on=_USER, how="inner").sort(*_USER, "item_id")
    rows = [
        {
            "task_id": drawing.task_id(domain, user, target, persona),
            "domain": domain,
            "user_id": user,
            "persona_id": persona,
            "target_item": target,
            "split": drawing.split_of(user),
            "released_split": None,
            "is_user_in_both": both.get(user, False),
            "position": None,
        }
        for domain, user, target, persona in joined.iter_rows()
    ]
    return pl.DataFrame(rows, schema=SIM_TASKS.schema)


def _with_diversity(rows: pl.DataFrame, counts: dict[str, float]) -> pl.DataFrame:
    """`rows` with max_rouge_l."""
    parts = [SIM_PERSONAS.empty()]
    for domain in SIM_DOMAINS:
        for origin in PERSONA_ORIGINS:
            own = rows.filter((pl.col("domain") == domain) & (pl.col("origin") == origin)).sort("persona_id")
            if own.is_empty():
                continue
            alike = largest_rouge_l([text_of(row) for row in own.select(TRAITS).iter_rows(named=True)])
            parts.append(own.with_columns(pl.Series("max_rouge_l", alike, dtype=pl.Float64)))
            counts[f"{domain}, {origin}: personas"] = own.height
            if own.height > 1:
                counts[f"{domain}, {origin}: mean of the largest ROUGE-L"] = round(sum(map(float, filter(None, alike))) / own.height, 4)  # fmt: skip
    return pl.concat(parts)


def tasks(
    warehouse: Warehouse, domain: str, split: str, limit: int | None = None, *, origin: str | None = None
) -> list[Task]:
    """At most `limit` published tasks of a domain and split (all for None), in the order of drawing: by hash, the first of every user, then the second ...

    `origin`: whose personas: `inferred` or `released`; None for inferred ones where the domain has tasks with such in this split, else released ones. Traits that a
    release leaves out are left out. Raises ValueError for a split that there is not.
    """
    if split not in SIM_SPLITS:
        raise ValueError(f"there is no split {split!r}; there are: {', '.join(SIM_SPLITS)}")
    rows = published_or_empty(warehouse, SIM_TASKS).filter((pl.col("domain") == domain) & (pl.col("split") == split))
    columns = ["persona_id", "origin", *TRAITS]
    rows = rows.join(published_or_empty(warehouse, SIM_PERSONAS, columns), on="persona_id", how="inner")
    if origin is None:
        origin = "inferred" if (rows["origin"] == "inferred").any() else "released"
    rows = rows.filter(pl.col("origin") == origin)
    by_id = {row["task_id"]: row for row in rows.iter_rows(named=True)}
    order = drawing.spread(list(by_id), [row["user_id"] for row in by_id.values()], limit)
    known = all_items(warehouse)
    return [_task(by_id[each], known) for each in order]


def _task(row: Mapping[str, Any], known: Mapping[tuple[str, str], Any]) -> Task:
    traits = {name: row[name] for name in TRAITS if row[name]}
    persona = Persona(row["persona_id"], row["domain"], traits)
    target = known[row["domain"], row["target_item"]]
    return Task(row["task_id"], row["domain"], row["user_id"], row["split"], target, persona)
