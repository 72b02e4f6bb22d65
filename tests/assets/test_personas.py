"""Personas and tasks: who is asked about, what is kept, which split everybody is in, and that nobody is asked about twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.build.ledger import llm_cache
from assets.build.personas import build_personas, persona_requests, tasks
from assets.build.reviews import build_reviews
from assets.build.sim_items import build_sim_items
from assets.build.tables import Built
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from pipelines.simulation.tasks import REVIEWS_MIN, TASKS_PER_USER, split_of
from tests.assets.simulated_warehouse import gateway
from tests.pipelines.reviews.review_files import (
    amazon_item,
    amazon_review,
    ecpo_task,
    lines,
    put,
    yelp_business,
    yelp_review,
)
from warehouse.store import Warehouse
from warehouse.tables.simulation import CORE_REVIEWS, SIM_PERSONAS, SIM_TASKS, TRAITS

BOOKS, USERS, PLACES = 45, 12, 12
USER = "amazon_reviews_2023-A"


def write_sources(folder: Path) -> None:
    """Twelve users with forty reviews of books each, three who say too little, some of places, and tasks as ECPO releases them."""
    reviews = [
        amazon_review(
            user_id=f"A{user}",
            parent_asin=f"B{book:03d}",
            rating=1.0 + (book * 7 + user) % 5,
            title=f"Number {book}",
            text=f"{'Funny' if user % 2 else 'Boring'} maps and {'bread' if book % 2 else 'ships'}! I read it {user + book} times. A film, it is not.",
            timestamp=1_500_000_000_000 + book * 86_400_000,
        )
        for user in range(USERS)
        for book in range(40)
    ]
    reviews += [amazon_review(user_id=f"S{user}", parent_asin=f"B{book:03d}", text=f"Ok {book}.") for user in range(3) for book in range(REVIEWS_MIN - 1)]  # fmt: skip
    # Says a lot, and likes nothing.
    reviews += [amazon_review(user_id="N0", parent_asin=f"B{book:03d}", rating=1.0, text=f"No {book}.") for book in range(9)]  # fmt: skip
    put(folder / "Books.jsonl", lines(*reviews))
    put(folder / "meta_Books.jsonl", lines(*[amazon_item(parent_asin=f"B{book:03d}", title=f"Book {book}") for book in range(BOOKS)]))  # fmt: skip
    places = [yelp_review(user_id=f"u{user}", business_id=f"b{place}", text=f"Kind staff {place}.") for user in range(4) for place in range(PLACES)]  # fmt: skip
    put(folder / "yelp_academic_dataset_review.json", lines(*places))
    put(folder / "yelp_academic_dataset_business.json", lines(*[yelp_business(business_id=f"b{n}", name=f"Place {n}") for n in range(PLACES)]))  # fmt: skip

    def released(user: int, book: int, tone: str) -> dict[str, Any]:
        persona = {"Activities": "Looks.", "Linguistics": {"Information Density": "Brief.", "Expression Style": "Plain.", "Tone": tone}}  # fmt: skip
        return ecpo_task(UserID=f"A{user}", Persona=persona, Items=[{"ItemID": f"B{book:03d}", "ItemName": f"Book {book}"}])  # fmt: skip

    # Users 0 and 1 stand in both; every target comes with two personas, and one task stands there twice.
    train = [released(user, book, tone) for user in (0, 1, 2) for book in (0, 1) for tone in ("Warm.", "Cold.")]
    put(folder / "task/Book_train.jsonl.gz", lines(*train, train[0]))
    put(folder / "task/Book_test.jsonl", lines(released(1, 9, "Warm."), released(0, 8, "Warm.")))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_sources(folder / "sources")
    made = Warehouse(folder / "warehouse")
    built = build_reviews(made, folder / "sources", False, lambda _: None)
    assert built.problems == ()
    made.publish([commit.table for commit in built.commits])
    made.publish([commit.table for commit in build_sim_items(made, None, lambda _: None).commits])
    return made.root


@pytest.fixture
def warehouse(tmp_path: Path, base: Path) -> Warehouse:
    shutil.copytree(base, tmp_path / "warehouse")
    return Warehouse(tmp_path / "warehouse")


def build(warehouse: Warehouse, model: LlmGateway | None, users: int = 8, split: Any = "hash", told: list[str] | None = None) -> Built:  # fmt: skip
    built = build_personas(warehouse, model, users, split, (told if told is not None else []).append)
    warehouse.publish({commit.table: commit.version for commit in built.commits})
    assert [commit.table for commit in built.commits] == [SIM_PERSONAS.name, SIM_TASKS.name]
    return built


@pytest.fixture(scope="module")
def inferred(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with eight users of each domain inferred by the stand-in."""
    root = tmp_path_factory.mktemp("inferred") / "warehouse"
    shutil.copytree(base, root)
    made = Warehouse(root)
    with gateway(made) as model:
        build(made, model)
    return root


@pytest.fixture
def ready(tmp_path: Path, inferred: Path) -> Warehouse:
    shutil.copytree(inferred, tmp_path / "ready")
    return Warehouse(tmp_path / "ready")


def personas(warehouse: Warehouse, origin: str = "inferred", domain: str = "book") -> pl.DataFrame:
    return warehouse.read(SIM_PERSONAS.name).filter((pl.col("origin") == origin) & (pl.col("domain") == domain))


def test_personas_rest_on_reviews_of_their_user(ready: Warehouse) -> None:
    rows, reviews = personas(ready), ready.read(CORE_REVIEWS.name)
    assert rows.height == 8 and rows["is_stand_in"].all() and set(rows["prompt_version"]) == {"persona@1"}
    # Who says too little or likes nothing is not among them.
    assert set(rows["user_id"]) <= {f"{USER}{n}" for n in range(USERS)}
    assert set(rows["reviews"]) == {30}
    own = dict(reviews.group_by("user_id").agg("review_id").iter_rows())
    latest = set(reviews.filter(pl.col("position") >= 10)["review_id"])
    for row in rows.iter_rows(named=True):
        assert all(row[name] for name in TRAITS)
        ids = {each["review_id"] for each in row["support"]}
        assert ids and ids <= set(own[row["user_id"]]) & latest
        assert {each["trait"] for each in row["support"]} <= set(TRAITS)
    with llm_cache(ready) as cache:
        assert set(rows["request_hash"]) <= set(cache.calls()["request_hash"])


def test_words_that_a_review_holds_are_not_foreign(ready: Warehouse) -> None:
    # The stand-in slips into a moviegoer now and then; "film", which the reviews hold, is never marked.
    assert not personas(ready)["foreign_words"].explode().is_in(["film"]).any()


def test_both_splits_are_there_and_no_user_stands_in_both(ready: Warehouse) -> None:
    rows = ready.read(SIM_TASKS.name)
    assert set(rows["split"]) == {"train", "test"}
    assert rows.group_by("user_id").agg(pl.col("split").n_unique())["split"].to_list() == [1] * rows["user_id"].n_unique()  # fmt: skip
    assert all(split_of(user) == split for user, split in rows.select("user_id", "split").iter_rows())


def test_targets_are_liked_items_about_thirty_of_each_user(ready: Warehouse) -> None:
    made = ready.read(SIM_TASKS.name).filter(pl.col("released_split").is_null())
    liked = ready.read(CORE_REVIEWS.name).filter("is_positive").select("user_id", target_item="item_id")
    assert made.join(liked, on=["user_id", "target_item"], how="anti").is_empty()
    assert made.group_by("user_id").len()["len"].max() <= TASKS_PER_USER
    assert made.select("user_id", "target_item").is_unique().all()
    assert set(made["persona_id"]) == set(personas(ready)["persona_id"]) | set(personas(ready, domain="business")["persona_id"])  # fmt: skip


def test_released_tasks_go_into_the_split_of_their_users_hash(ready: Warehouse) -> None:
    rows = ready.read(SIM_TASKS.name).filter(pl.col("released_split").is_not_null())
    assert dict(rows.group_by("released_split").len().iter_rows()) == {"train": 12, "test": 2}
    assert set(rows.filter("is_user_in_both")["user_id"]) == {f"{USER}0", f"{USER}1"}
    assert rows.filter(pl.col("released_split") == "test").sort("position")["user_id"].to_list() == [f"{USER}1", f"{USER}0"]  # fmt: skip
    # Two personas of each user: the same target is two tasks.
    assert personas(ready, "released").height == 6
    assert set(rows["persona_id"]) == set(personas(ready, "released")["persona_id"])
    assert personas(ready, "released").select("interests", "orientations").unique().rows() == [("", "")]
    # What these users were inferred to be stands beside it, and says of them what the release does.
    made = ready.read(SIM_TASKS.name).filter(pl.col("released_split").is_null() & pl.col("user_id").is_in([f"{USER}0", f"{USER}1"]))  # fmt: skip
    assert made.is_empty() or made["is_user_in_both"].all()


def test_the_released_split_can_be_kept(ready: Warehouse) -> None:
    told: list[str] = []
    built = build(ready, None, split="released", told=told)
    assert any("warning: 2 of 3 users of released tasks stand in both train and test" in words for words in told)
    assert built.counts["released users in both splits"] == 2 and built.counts["released tasks said twice"] == 1
    rows = ready.read(SIM_TASKS.name)
    books = rows.filter(pl.col("domain") == "book")
    assert books.height == 14 and (books["split"] == books["released_split"]).all()
    # The other domain has no released tasks, and keeps its own.
    assert rows.filter(pl.col("domain") == "business").height > 0
    (first, second) = (each for each in books.filter(pl.col("split") == "test").sort("position").iter_rows(named=True))
    assert (first["target_item"], second["target_item"]) == ("B009", "B008")


def test_random_personas_are_as_many_and_have_no_tasks(ready: Warehouse) -> None:
    for domain in ("book", "business"):
        drawn = personas(ready, "random", domain)
        assert drawn.height == personas(ready, domain=domain).height
        assert drawn["model"].null_count() == drawn.height and not drawn["is_stand_in"].any()
    assert not set(personas(ready, "random")["persona_id"]) & set(ready.read(SIM_TASKS.name)["persona_id"])


def test_diversity_is_within_domain_and_origin(ready: Warehouse) -> None:
    rows = ready.read(SIM_PERSONAS.name)
    assert rows["max_rouge_l"].is_between(0, 1).all()
    # Released personas of a user differ in one word of six alone.
    assert personas(ready, "released")["max_rouge_l"].min() == 1.0


def test_a_forecast_is_of_the_questions_that_are_asked(ready: Warehouse) -> None:
    requests = persona_requests(ready, 8)
    assert len({each.key for each in requests}) == len(requests) == 12
    with gateway(ready, mode="replay") as model:
        assert set(model.answer(requests, lambda _: None).answers) == {each.key for each in requests}


def test_nobody_is_asked_about_twice(ready: Warehouse) -> None:
    with llm_cache(ready) as cache:
        calls = cache.calls().height
    with gateway(ready) as model:
        built = build(ready, model)
    assert built.counts["personas inferred"] == 0 and not any(commit.changed for commit in built.commits)
    with llm_cache(ready) as cache:
        assert cache.calls().height == calls


def test_more_users_keep_the_ones_there_are(ready: Warehouse) -> None:
    before = personas(ready)
    with gateway(ready) as model:
        built = build(ready, model, users=10)
    after = personas(ready)
    assert after.height == 10 and built.counts["personas inferred"] == 2
    columns = [name for name in after.columns if name != "max_rouge_l"]
    assert after.select(columns).join(before.select(columns), on="persona_id", how="semi").select(columns).sort("persona_id").equals(before.select(columns).sort("persona_id"))  # fmt: skip


def test_only_users_whose_reviews_changed_are_asked_about(ready: Warehouse, tmp_path: Path) -> None:
    rows = ready.read(CORE_REVIEWS.name)
    user = personas(ready)["user_id"][0]
    is_last = (pl.col("user_id") == user) & (pl.col("position") == 39)
    ready.write(CORE_REVIEWS, rows.with_columns(pl.when(is_last).then(pl.lit("Changed my mind.")).otherwise("text").alias("text")))  # fmt: skip
    ready.publish([CORE_REVIEWS.name])
    with gateway(ready) as model:
        assert build(ready, model).counts["personas inferred"] == 1
    # Old ones that are not shown change nothing.
    is_first = (pl.col("user_id") == user) & (pl.col("position") == 0)
    rows = ready.read(CORE_REVIEWS.name)
    ready.write(CORE_REVIEWS, rows.with_columns(pl.when(is_first).then(pl.lit("Other.")).otherwise("text").alias("text")))  # fmt: skip
    ready.publish([CORE_REVIEWS.name])
    with gateway(ready) as model:
        assert build(ready, model).counts["personas inferred"] == 0


def test_without_a_model_nobody_is_inferred_and_what_is_stored_stays(warehouse: Warehouse, ready: Warehouse) -> None:
    told: list[str] = []
    built = build(warehouse, None, told=told)
    assert personas(warehouse).is_empty() and personas(warehouse, "released").height == 6
    assert built.counts["personas inferred"] == 0 and "no language model is configured: no persona is inferred" in told[0]  # fmt: skip
    assert not any(commit.changed for commit in build(ready, None).commits)


def test_a_model_is_asked_where_the_stand_in_has_answered(ready: Warehouse) -> None:
    with StandIn() as stand_in, llm_cache(ready) as cache:
        settings = replace(stand_in.settings(mode="replay"), model="a-real-model")
        told: list[str] = []
        built = build(ready, LlmGateway(settings, "none", cache), told=told)
    # Nothing of it is in the cache: what the stand-in said is gone, and the users wait.
    assert built.counts["users without an answer for now"] == 12 and personas(ready).is_empty()
    assert any("12 users are without an answer for now: not in the cache" in words for words in told)


def test_answers_that_come_to_nothing_are_counted(warehouse: Warehouse) -> None:
    with StandIn(Faults(shares={"refusal": 1.0})) as stand_in, llm_cache(warehouse) as cache:
        built = build(warehouse, LlmGateway(stand_in.settings(), "none", cache))
    assert built.counts["users without a usable answer"] == 12
    assert personas(warehouse).is_empty() and warehouse.read(SIM_TASKS.name)["released_split"].null_count() == 0


# ------------------------------------------------------------------------------------------------------------ drawing tasks


def test_tasks_come_with_persona_and_item_spread_over_users(ready: Warehouse) -> None:
    everything = tasks(ready, "book", "train")
    users = {each.user_id for each in everything}
    first = tasks(ready, "book", "train", len(users))
    assert {each.user_id for each in first} == users and first == everything[: len(users)]
    one = first[0]
    assert set(one.persona.traits) == set(TRAITS) and one.persona.domain == "book"
    assert one.target.text.startswith(f"Title: {one.target.title}\n") and one.split == "train"
    stored = ready.read(SIM_TASKS.name).filter(pl.col("task_id") == one.task_id).row(0, named=True)
    assert stored["target_item"] == one.target.item_id and stored["persona_id"] == one.persona.persona_id


def test_inferred_personas_come_before_released_ones(ready: Warehouse, warehouse: Warehouse) -> None:
    released = tasks(ready, "book", "train", origin="released")
    assert all(set(each.persona.traits) == {"activities", "information_density", "expression_style", "tone"} for each in released)  # fmt: skip
    assert not {each.task_id for each in tasks(ready, "book", "train")} & {each.task_id for each in released}
    build(warehouse, None)
    found = tasks(warehouse, "book", "train")
    assert found and all("interests" not in each.persona.traits for each in found)


def test_nothing_to_draw(ready: Warehouse, tmp_path: Path) -> None:
    assert tasks(ready, "game", "test") == [] and tasks(ready, "book", "test", 0) == []
    assert tasks(Warehouse(tmp_path / "fresh"), "book", "test") == []
    with pytest.raises(ValueError, match="there is no split 'valid'"):
        tasks(ready, "book", "valid")


@pytest.mark.real_data
def test_real_tasks_as_released(real_data: Path, tmp_path: Path) -> None:
    made = Warehouse(tmp_path / "warehouse")
    made.publish([commit.table for commit in build_reviews(made, real_data / "ecpo", False, lambda _: None).commits])
    made.publish([commit.table for commit in build_sim_items(made, None, lambda _: None).commits])
    told: list[str] = []
    built = build(made, None, split="released", told=told)
    assert built.counts["released users in both splits"] == 95 == built.counts["released users"]
    assert any("warning: 95 of 95 users of released tasks stand in both train and test" in words for words in told)
    rows = made.read(SIM_TASKS.name)
    assert dict(rows.group_by("split").len().iter_rows()) == {"train": 3739, "test": 193}
    # Row N of the released file is position N; the targets and personas are the file's.
    lines_of_test = (real_data / "ecpo" / "task" / "Book_test.jsonl").read_text().splitlines()
    stated = [(f"amazon_reviews_2023-{row['UserID']}", row["Items"][0]["ItemID"]) for row in map(json.loads, lines_of_test)]  # fmt: skip
    test = rows.filter(pl.col("split") == "test").sort("position")
    assert test.select("user_id", "target_item").rows() == stated and test["position"].to_list() == list(range(193))
    train = rows.filter(pl.col("split") == "train").select("user_id", "target_item").unique()
    assert test.join(train, on=["user_id", "target_item"], how="semi").is_empty()
    assert personas(made, "released").height == 193
    # By hash, nobody is in both.
    build(made, None)
    split = made.read(SIM_TASKS.name).group_by("user_id").agg(pl.col("split").n_unique())
    assert set(split["split"]) == {1}
