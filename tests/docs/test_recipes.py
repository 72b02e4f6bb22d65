"""The documents: every SQL recipe runs and returns the columns shown, every link resolves, every command exists."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from assets.build.annotation import build_annotations
from assets.build.conversation_evaluation import (
    build_annotation_evaluation,
    build_mention_evaluation,
    build_pair_evaluation,
)
from assets.build.corpus import build_links, build_movies, build_title_records
from assets.build.dialogues import build_dialogues
from assets.build.enrichment import build_tmdb_details
from assets.build.evaluation import build_evaluation
from assets.build.ledger import build_ledger, llm_cache
from assets.build.mentions import build_mentions
from assets.build.preferences import build_pairs
from assets.build.ranking_evaluation import build_ranking_evaluation
from assets.build.rankings import baseline_runs, build_rankings, make_rankings
from assets.build.rec_turns import build_rec_turns
from assets.build.reranking import build_hallucination, build_llm_rankings
from assets.build.sessions import build_sessions
from assets.build.sources import build_sources
from assets.build.training_data import write_training_data
from assets.cli import main
from assets.contracts import FIXED, all_contracts
from models import rank
from pipelines.corpus.policy import DEFAULT_RELIABILITY
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.stand_in.server import StandIn
from pipelines.sources.blocks import all_blocks, builtin_blocks
from pipelines.synth.pack import write_pack
from warehouse.sql import query
from warehouse.store import Commit, Warehouse
from warehouse.tables.dialogues import DATASETS

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("**/*.md")])
MOVIES = 150
NOW = datetime(2026, 1, 2, 3, 4, 5)

FENCED = re.compile(r"^```[^\n]*\n.*?^```$", re.DOTALL | re.MULTILINE)
SQL = re.compile(r"^```sql\n(?P<sql>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```$)?", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
# `marquee` at the start of a command: in backticks, after .venv/bin/, or at the start of a line of a block.
COMMAND = re.compile(r"(?:`|\.venv/bin/|^)marquee (?P<name>[a-z][a-z-]*)(?: (?P<under>[a-z]+)\b)?", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


class Recipe(NamedTuple):
    """One SQL block: where it stands, the query, and the columns of the output shown below it (none if none is)."""

    page: str
    heading: str
    sql: str
    columns: list[str]


def recipes() -> list[Recipe]:
    listed: list[Recipe] = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in SQL.finditer(text):
            heading = re.findall(r"^#+ (.*)$", text[: found.start()], re.MULTILINE)[-1]
            header = (found["shown"] or "").partition("\n")[0]
            columns = [name.strip() for name in header.split("┃")] if header else []
            listed.append(Recipe(page.name, heading, found["sql"], columns))
    return listed


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse built from a small pack, step by step without dagster: checks have tests of their own."""
    folder = tmp_path_factory.mktemp("recipes")
    write_pack(folder / "sources", movies=MOVIES, seed=0)
    blocks = all_blocks(folder / "sources")
    contracts = all_contracts(blocks)
    warehouse = Warehouse(folder / "warehouse")

    def publish(*commits: Commit) -> None:
        warehouse.publish({commit.table: commit.version for commit in commits}, contracts)

    def quiet(text: str) -> None:
        pass

    read = build_sources(warehouse, blocks, folder / "sources", False, quiet)
    publish(*(o.commit for o in read.outcomes.values() if o.commit is not None), *read.shared)
    publish(*build_title_records(warehouse, blocks, False, quiet).commits)
    publish(*build_links(warehouse, NOW, False, quiet).commits)
    publish(*build_tmdb_details(warehouse, None, NOW, quiet).commits)
    reliability = {
        name: DEFAULT_RELIABILITY if block.reliability is None else block.reliability for name, block in blocks.items()
    }
    publish(*build_movies(warehouse, reliability, False, quiet).commits)
    publish(*build_evaluation(warehouse, blocks, quiet).commits)
    publish(*build_dialogues(warehouse, DATASETS, folder / "sources", False, quiet)[0].commits)
    publish(*build_mentions(warehouse, DATASETS, False, quiet).commits)
    publish(*build_sessions(warehouse, folder / "sources", False, quiet).commits)
    publish(*build_rec_turns(warehouse, DATASETS, False, quiet).commits)
    # Rankings of the baselines: recipes read tables, whoever ranked.
    data = folder / "dialogues"
    write_training_data(warehouse, "dialogues", "dialogues", data, None, "seen")
    runs = baseline_runs(data)
    make_rankings(warehouse, runs, quiet, lambda module, config, tell: rank.main(["--config", str(config)]))
    publish(*build_rankings(warehouse, runs, False, quiet).commits)
    with StandIn() as stand_in, llm_cache(warehouse) as cache:
        gateway = LlmGateway(stand_in.settings(), None, cache)
        publish(*build_llm_rankings(warehouse, gateway, False, quiet, "popularity", 0, limit=20).commits)
        publish(*build_annotations(warehouse, DATASETS, gateway, False, quiet).commits)
        publish(*build_pairs(warehouse, DATASETS, gateway, False, quiet).commits)
    publish(*build_ledger(warehouse).commits)
    publish(*build_mention_evaluation(warehouse, folder / "sources", blocks, quiet).commits)
    publish(*build_annotation_evaluation(warehouse, quiet).commits)
    publish(*build_pair_evaluation(warehouse, quiet).commits)
    publish(*build_ranking_evaluation(warehouse, True, quiet).commits)
    publish(*build_hallucination(warehouse, quiet).commits)
    # Nothing is trained here, which gives tables without rows, as in a warehouse that has nothing to train on.
    stored = [table for table in FIXED if table.sql is None and warehouse.published(table.name) is None]
    publish(*(warehouse.write(table, table.empty()) for table in stored))
    return warehouse.root


def test_there_are_recipes_with_their_output() -> None:
    shown = [recipe for recipe in recipes() if recipe.page == "sql-recipes.md"]
    assert len(shown) >= 15
    assert [recipe.heading for recipe in shown if not recipe.columns] == []
    assert len({recipe.heading for recipe in shown}) == len(shown)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: f"{recipe.page}: {recipe.heading}")
def test_recipe_runs_and_returns_the_columns_shown(recipe: Recipe, built: Path) -> None:
    answer = query(built, recipe.sql)
    if not recipe.columns:
        assert answer.width
    elif " USING " in recipe.sql and "PIVOT" in recipe.sql:  # a pivot has a column for each value that there is
        assert set(answer.columns) <= set(recipe.columns)
        assert answer.columns[0] == recipe.columns[0]
    else:
        assert answer.columns == recipe.columns


@pytest.mark.slow
def test_the_small_pack_has_answers_for_most_recipes(built: Path) -> None:
    answered = [recipe.heading for recipe in recipes() if query(built, recipe.sql).height]
    assert len(answered) >= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for found in LINK.finditer(FENCED.sub("", page.read_text("utf-8"))):
        path, _, anchor = found["target"].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(REPOSITORY) and target.exists(), found["target"]
        if anchor:
            assert anchor in anchors(target), found["target"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_named_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    below = [sub for group in main.commands.values() for sub in getattr(group, "commands", {}).values()]
    known = {option for command in (*main.commands.values(), *below) for each in command.params for option in each.opts}
    for found in COMMAND.finditer(text):
        assert found["name"] in main.commands, found[0]
        under = getattr(main.commands[found["name"]], "commands", None)
        assert under is None or not found["under"] or found["under"] in under, found[0]
        line = text[found.start() : text.find("\n", found.start())]
        assert set(OPTION.findall(line)) <= known | {"--help", "--version"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
    for name in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE):
        assert name in targets, name


@pytest.mark.parametrize("picture", sorted((REPOSITORY / "docs" / "images").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_readable_in_the_dark_and_load_nothing(picture: Path) -> None:
    text = picture.read_text("utf-8")
    assert "prefers-color-scheme: dark" in text
    assert "<title" in text and "<desc" in text
    assert not re.search(r"(?:href|src)=|<script|@import|url\((?!#)", text)


def test_the_asset_graph_names_tables_that_exist() -> None:
    text = (REPOSITORY / "docs" / "images" / "asset-graph.svg").read_text("utf-8")
    named = set(re.findall(r"\b(?:raw|meta|core|eval)_[a-z0-9_]+", text))
    assert named
    assert named <= set(all_contracts(builtin_blocks()))


def test_documents_name_no_place_outside_the_repository() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(?:tmp|work|root|home)\b", page.read_text("utf-8")), page.name
