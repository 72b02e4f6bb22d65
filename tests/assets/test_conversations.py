"""Conversations from their files to annotations and pairs: a whole run, refreshes, one dataset alone, and whatever goes wrong."""

from __future__ import annotations

import csv
import importlib
import json
import random
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner, Result

from assets.automation import CONVERSATIONS_JOB
from assets.build.ledger import llm_cache
from assets.cli import main
from assets.contracts import FIXED
from assets.groups import EXTERNAL, GROUPS
from assets.settings import stand_in_environment
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from pipelines.synth.churn import churn
from pipelines.synth.pack import write_pack
from tests.assets.commands import BUILD, PATIENCE_S, Command, content, differing, versions
from tests.assets.conftest import MOVIES, Built
from warehouse.quality.run import audit_across, cross_checks
from warehouse.sql import query
from warehouse.store import Warehouse
from warehouse.tables.dialogues import DATASETS

pytestmark = pytest.mark.slow
Copied = Callable[[Path, str], Path]

DIALOGUES = 30
# So many records change that some film is lost that people talk about: its links must go in a refresh, and nobody else's.
CHANGED_SHARE = 0.2
ANNOTATED = ("anno_vto", "anno_turns", "anno_strategy")
READ = (
    "core_dialogues",
    "core_turns",
    "core_turn_labels",
    "core_mention_hints",
    "core_feedback",
    "core_dialogue_items",
)
MADE = (*READ, "core_item_links", "core_mentions", *ANNOTATED, "pref_pairs")
FILM_DATASETS = set(DATASETS) - {"muse"}
REDIAL = Path("conversations/redial/train_data.jsonl")
INSPIRED = Path("conversations/inspired/dialog_data/train.tsv")


@pytest.fixture(scope="module")
def talks(place: Path) -> Path:
    """Catalogues, and conversations about their films."""
    return write_pack(place / "talks", movies=MOVIES, seed=4, dialogues=DIALOGUES).out


@pytest.fixture(scope="module")
def spoken(place: Path, home: Path, talks: Path) -> Built:
    """The warehouse of both, annotated by the stand-in. Not to be written to."""
    root = place / "spoken"
    done = Command(*BUILD, "--stand-in", "--sources", talks, "--warehouse", root, home=home).wait()
    assert done.code == 0, done
    return Built(root, done)


def _says(conversation: str, number: int) -> str:
    """A conversation of ReDial's under another id, with other first words."""
    record = json.loads(conversation)
    record["conversationId"] = str(900_000 + number)
    record["messages"][0]["text"] = f"Good evening, this is caller {number}."
    return json.dumps(record)


@pytest.fixture(scope="module")
def later(place: Path, talks: Path) -> Path:
    """The same sources later: catalogues churned, three conversations of ReDial's more and one less, one of INSPIRED's less."""
    folder = churn(talks, place / "later", share=CHANGED_SHARE, seed=1).out
    lines = (folder / REDIAL).read_text(encoding="utf-8").splitlines()
    more = [_says(line, number) for number, line in enumerate(lines[5:8])]
    (folder / REDIAL).write_text("\n".join([lines[0], *lines[2:], *more, ""]), encoding="utf-8")
    header, *rows = (folder / INSPIRED).read_text(encoding="utf-8").splitlines()
    gone = rows[0].split("\t")[0]
    kept = [row for row in rows if row.split("\t")[0] != gone]
    assert 0 < len(kept) < len(rows)
    (folder / INSPIRED).write_text("\n".join([header, *kept, ""]), encoding="utf-8")
    return folder


@contextmanager
def definitions(sources: Path, root: Path) -> Iterator[dg.Definitions]:
    """What dagster loads for these folders, in this process and without a language model."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MARQUEE_LLM_MODE", "TMDB_API_KEY"):
            patch.delenv(name, raising=False)
        patch.setenv("MARQUEE_SOURCES", str(sources))
        patch.setenv("MARQUEE_WAREHOUSE", str(root))
        patch.delitem(sys.modules, "assets.definitions", raising=False)
        yield importlib.import_module("assets.definitions").defs
        patch.delitem(sys.modules, "assets.definitions")


@pytest.fixture(scope="module")
def inspired_alone(place: Path, spoken: Built, later: Path) -> Path:
    """A copy of the warehouse in which dagster has brought the dataset `inspired` up to date, and no other. Not to be written to."""
    root = Path(shutil.copytree(spoken.root, place / "inspired"))
    with definitions(later, root) as defs, dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def(CONVERSATIONS_JOB)
        assert job.execute_in_process(instance=instance, partition_key="inspired").success
    return root


@pytest.fixture(scope="module")
def caught_up(place: Path, home: Path, inspired_alone: Path, later: Path) -> Built:
    """That copy after a refresh of everything. Not to be written to."""
    root = Path(shutil.copytree(inspired_alone, place / "caught up"))
    done = Command("refresh", "--stand-in", "--sources", later, "--warehouse", root, home=home, is_recorded=True).wait()
    assert done.code == 0, done
    return Built(root, done)


def answered(calls: pl.DataFrame) -> pl.DataFrame:
    """Questions that were answered, and how often."""
    good = calls.filter(pl.col("outcome").is_in(["answered", "repaired"]))
    return good.group_by("request_hash").agg(answers=pl.len())


def ledger(root: Path) -> pl.DataFrame:
    with llm_cache(Warehouse(root)) as cache:
        return cache.calls()


# -- a whole run -------------------------------------------------------------------------------------------


def test_every_table_is_published_and_holds_together(spoken: Built) -> None:
    # Training and simulations have tests of their own.
    groups = {"retrieval", *GROUPS["sim"]} - {"llm"}
    elsewhere = {table.name for table in FIXED if table.group in groups} | EXTERNAL
    stored = {table.name for table in FIXED if table.sql is None} - elsewhere
    assert {name for name, found in versions(spoken.root).items() if found == (0, 0)} >= stored
    assert "not published" not in spoken.done.err
    for name in (*MADE, "eval_mention_linking", "eval_annotation", "eval_preferences"):
        assert Warehouse(spoken.root).rows(name) > 0, name
    checks = [each for each in cross_checks(FIXED) if not set(each.needs) & elsewhere]
    found = audit_across(checks, lambda sql: query(spoken.root, sql), stored)
    assert [(each.table, each.check) for each in found if each.severity == "ERROR" and each.status != "passed"] == []


def test_the_books_of_the_dialogue_files_balance(spoken: Built, talks: Path) -> None:
    files = content(spoken.root, "meta_dialogue_files")
    assert files.filter(pl.col("rows_in") != pl.col("rows_kept") + pl.col("rows_rejected")).is_empty()
    stated = json.loads((talks / "truth" / "conversation_rejects.json").read_text(encoding="utf-8"))
    expected = {name: sum(counts.values()) for name, counts in stated.items()}
    assert dict(files.filter(pl.col("rows_rejected") > 0).select("file", "rows_rejected").iter_rows()) == expected
    rejects = Warehouse(spoken.root).read("raw_dialogue_rejects")
    assert dict(rejects.group_by("file").len().iter_rows()) == expected
    assert rejects["reason"].str.len_chars().min() > 5


def test_every_dialogue_of_the_truth_is_there_with_its_turns(spoken: Built, talks: Path) -> None:
    truth = pl.read_parquet(talks / "truth" / "dialogues.parquet").select("dataset", "source_id", "turns")
    found = content(spoken.root, "core_dialogues").select("dataset", "source_id", "turns")
    assert set(truth["dataset"]) == set(DATASETS)
    assert found.sort(pl.all()).equals(truth.sort(pl.all()))


def test_mentions_are_found_and_are_the_right_films(spoken: Built, talks: Path) -> None:
    films = content(spoken.root, "core_movies").select("movie_id", "imdb_id")
    truth = (
        pl.read_parquet(talks / "truth" / "mentions.parquet")
        .with_columns(
            dialogue_id=pl.concat_str("dataset", "source_id", separator="-"),
            imdb_id=pl.concat_str(pl.lit("tt"), pl.col("imdb_number").cast(pl.String).str.zfill(7)),
        )
        .join(films, on="imdb_id")
    )
    found = query(spoken.root, "SELECT * FROM core_film_mentions").filter(pl.col("dataset").is_in(FILM_DATASETS))
    both = found.join(truth, on=["dialogue_id", "turn", "movie_id"], suffix="_true").filter(
        (pl.col("start") < pl.col("end_true")) & (pl.col("start_true") < pl.col("end"))
    )
    places = ["dialogue_id", "turn", "start"]
    right = both.select(places).n_unique() / found.height
    placed = both.select("dialogue_id", "turn", "start_true", "kind").unique()
    assert right >= 0.9
    assert placed.height / truth.height >= 0.8
    placeholders = placed.filter(kind="placeholder").height / truth.filter(kind="placeholder").height
    assert placeholders >= 0.9
    texts = content(spoken.root, "core_turns").select("dialogue_id", "turn", "text")
    cut = found.join(texts, on=["dialogue_id", "turn"]).filter(
        pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")) != pl.col("surface")
    )
    assert cut.is_empty()


def test_mentions_are_measured_against_the_packs_truth(spoken: Built) -> None:
    figures = content(spoken.root, "eval_mention_linking").filter(truth="synthetic", method="all", stage="after_lint")
    assert set(figures["dataset"]) == FILM_DATASETS
    shares = figures.filter(pl.col("metric").is_in(["precision", "recall"]))
    assert shares.filter((pl.col("value") < 0.5) | (pl.col("value") > 1) | (pl.col("n") == 0)).is_empty()


def test_what_the_stand_in_said_is_marked_everywhere(spoken: Built) -> None:
    calls = content(spoken.root, "llm_calls")
    assert set(calls["prompt"]) == {"vto", "strategy", "response_high", "response_low"}
    assert calls.filter(~pl.col("is_stand_in") | (pl.col("cost_usd") > 0)).is_empty()
    assert set(answered(calls)["answers"]) == {1}
    for name in ("anno_vto", "anno_strategy"):
        rows = content(spoken.root, name)
        assert rows.filter(source="llm").height > 0
        assert rows.filter((pl.col("source") == "llm") != pl.col("is_stand_in")).is_empty(), name
    turns = content(spoken.root, "anno_turns")
    assert turns["decided_by"].null_count() == 0
    assert turns.filter((pl.col("decided_by") == "llm") != pl.col("is_stand_in")).is_empty()
    pairs = content(spoken.root, "pref_pairs")
    assert pairs.filter((pl.col("construction") == "llm_quality") != pl.col("is_stand_in")).is_empty()
    assert set(pairs["construction"]) == {"items_removed", "items_replaced", "llm_quality", "questionnaire"}
    told = content(spoken.root, "eval_annotation").filter(pl.col("protocol").str.contains("stand-in"))
    assert told.height > 0


def test_rows_of_a_turn_stand_once_for_each_turn(spoken: Built) -> None:
    turns = content(spoken.root, "core_turns").select("dialogue_id", "turn")
    assert content(spoken.root, "anno_turns").select("dialogue_id", "turn").equals(turns)
    chosen = content(spoken.root, "anno_strategy").filter("is_chosen")
    assert chosen.group_by("dialogue_id", "turn", "position").len()["len"].max() == 1


def test_no_conversation_is_in_two_splits_and_exports_leave_repeats_out(spoken: Built) -> None:
    pairs = content(spoken.root, "pref_pairs")
    assert pairs.group_by("conversation_id").agg(pl.col("split").n_unique())["split"].max() == 1
    used = query(spoken.root, "SELECT pair_id FROM pref_dpo")["pair_id"]
    assert set(used) == set(pairs.filter(pl.col("duplicate_of").is_null())["pair_id"])


# -- refreshes ---------------------------------------------------------------------------------------------


def test_one_dataset_alone_leaves_the_rows_of_the_others(spoken: Built, inspired_alone: Path) -> None:
    for name in (*MADE, "meta_dialogue_files", "raw_dialogue_rejects"):
        both = [Warehouse(root).read(name) for root in (spoken.root, inspired_alone)]
        others = [rows.filter(pl.col("dataset") != "inspired").sort(pl.all().exclude(pl.List)) for rows in both]
        assert others[0].height > 0, name
        assert others[0].equals(others[1]), name
    before, after = (
        content(root, "core_dialogues").filter(dataset="inspired") for root in (spoken.root, inspired_alone)
    )
    gone = set(before["dialogue_id"]) - set(after["dialogue_id"])
    assert len(gone) == 1
    assert set(after["dialogue_id"]) < set(before["dialogue_id"])
    for name in MADE:
        if name != "core_item_links" and name != "core_dialogue_items":
            assert content(inspired_alone, name).filter(pl.col("dialogue_id").is_in(gone)).is_empty(), name
    # Nobody was asked, and what was said before of turns that are as they were still holds.
    turns = content(inspired_alone, "anno_turns").filter(dataset="inspired")
    assert turns.filter(decided_by="llm").height > 0
    assert turns["decided_by"].null_count() == 0


def test_refresh_gives_what_a_whole_run_gives(
    spoken: Built, caught_up: Built, later: Path, home: Path, copied: Copied
) -> None:
    root = copied(spoken.root, "whole")
    groups = "raw,core,dialogues,anno,pref"
    done = Command("run", "--only", groups, "--stand-in", "--sources", later, "--warehouse", root, home=home).wait()
    assert done.code == 0, done
    assert not content(root, "core_movies").equals(content(spoken.root, "core_movies"))
    assert not content(root, "core_mentions").equals(content(spoken.root, "core_mentions"))
    assert differing(root, caught_up.root, ["core_movies", *MADE]) == []


def _changed(before: Path, after: Path) -> pl.DataFrame:
    """Turns of which something was seen that was not seen before: new ones, and those whose context or mentions differ."""
    keys = ["dialogue_id", "turn", "input_hash"]
    was, now = (content(root, "anno_turns") for root in (before, after))
    return now.join(was, on=keys, how="anti")


def test_refresh_annotates_only_turns_that_are_new_or_reached(
    inspired_alone: Path, caught_up: Built, home: Path
) -> None:
    changed = _changed(inspired_alone, caught_up.root)
    turns = content(caught_up.root, "anno_turns")
    fresh = turns.filter(pl.col("dialogue_id").str.starts_with("redial-9000"))
    assert fresh["dialogue_id"].n_unique() == 3
    assert fresh.height < changed.height < 0.5 * turns.height
    with chdir(home), dg.DagsterInstance.from_config(str(home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("anno_turns"))
        linked = instance.get_latest_materialization_event(dg.AssetKey("core_mentions"))
    assert event is not None and event.asset_materialization is not None
    figures = {name: found.value for name, found in event.asset_materialization.metadata.items()}
    assert figures["turns that rules were applied to"] == changed.height
    assert linked is not None and linked.asset_materialization is not None
    again = linked.asset_materialization.metadata["dialogues linked"].value
    assert changed["dialogue_id"].n_unique() <= again < turns["dialogue_id"].n_unique()
    known = set(ledger(inspired_alone)["request_hash"])
    asked = ledger(caught_up.root).filter(~pl.col("request_hash").is_in(known))
    numbers = dict(asked.group_by("prompt").len().iter_rows())
    assert 0 < numbers["vto"] <= changed.filter(decided_by="llm").height
    assert 0 < numbers["strategy"] <= changed.height


def test_a_run_over_what_is_known_asks_nobody_and_changes_nothing(
    caught_up: Built, later: Path, home: Path, copied: Copied
) -> None:
    root = copied(caught_up.root, "again")
    before, calls = versions(root), ledger(root)
    options = ("--sources", later, "--warehouse", root)
    idle = Command("refresh", "--stand-in", *options, home=home).wait()
    assert (idle.code, idle.out) == (0, "nothing changed: the corpus is up to date\n"), idle
    with StandIn() as stand_in:
        environ = stand_in_environment(stand_in.base_url)
        done = Command("run", "--only", "dialogues,anno,pref", *options, home=home, **environ).wait()
        assert done.code == 0, done
        assert stand_in.traffic.requests == 0
    assert versions(root) == before
    assert ledger(root).equals(calls)


# -- what goes wrong ---------------------------------------------------------------------------------------


@pytest.fixture
def unasked(spoken: Built, copied: Copied) -> Path:
    """A copy of the warehouse without anything that was ever answered."""
    root = copied(spoken.root, "unasked")
    shutil.rmtree(root / "llm")
    return root


def nowhere() -> str:
    """An address at which nothing answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def test_killed_and_cut_off_runs_are_completed_without_paying_twice(
    spoken: Built, unasked: Path, talks: Path, home: Path
) -> None:
    options = ("run", "--only", "anno", "--sources", talks, "--warehouse", unasked)
    before = versions(unasked)
    with StandIn() as stand_in:
        command = Command(*options, home=home, **stand_in_environment(stand_in.base_url))
        end = time.monotonic() + PATIENCE_S
        while stand_in.traffic.completions < 150 and time.monotonic() < end:
            time.sleep(0.005)
        command.kill()
    kept = answered(ledger(unasked))
    assert 100 < kept.height < answered(ledger(spoken.root)).height
    assert versions(unasked) == before

    # All workers fail side by side, and so the end comes soon.
    down = {**stand_in_environment(nowhere()), "MARQUEE_LLM_WORKERS": "40"}
    done = Command(*options, home=home, **down).wait()
    assert done.code == 0, done
    assert "the language model could not be asked further" in done.err
    assert "no usable answers" in done.err
    turns = content(unasked, "anno_turns")
    assert 0 < turns["decided_by"].null_count() < turns.height
    assert turns.filter(decided_by="llm").height > 0
    assert answered(ledger(unasked)).sort("request_hash").equals(kept.sort("request_hash"))

    with StandIn() as stand_in:
        done = Command(*options, home=home, **stand_in_environment(stand_in.base_url)).wait()
        asked = stand_in.traffic.requests
    assert done.code == 0, done
    assert differing(unasked, spoken.root, ANNOTATED) == []
    calls = content(unasked, "llm_calls")
    found = answered(calls)
    assert set(found["answers"]) == {1}
    assert found.height == kept.height + asked
    assert calls.filter(outcome="failed").height > 0


def test_faults_of_the_endpoint_leave_open_turns_at_worst_and_the_books_balance(
    unasked: Path, talks: Path, home: Path
) -> None:
    kinds = (
        "rate_limited",
        "server_error",
        "malformed",
        "broken_off",
        "off_schema",
        "fenced",
        "refusal",
        "no_completion",
    )
    faults = Faults(shares=dict.fromkeys(kinds, 0.02), retry_after_s=0.0, seed=2)
    options = ("run", "--only", "anno", "--sources", talks, "--warehouse", unasked)
    with StandIn(faults) as stand_in:
        done = Command(*options, home=home, **stand_in_environment(stand_in.base_url)).wait()
        asked, statuses = stand_in.traffic.requests, stand_in.traffic.statuses
    assert done.code == 0, done
    calls = content(unasked, "llm_calls")
    assert calls.height == asked
    assert calls.filter(pl.col("http_status") == 429).height == statuses[429] > 0
    assert calls.filter(pl.col("http_status") == 500).height == statuses[500] > 0
    assert {"answered", "repaired", "failed", "refused"} <= set(calls["outcome"])
    found = answered(calls)
    assert set(found["answers"]) == {1}
    turns = content(unasked, "anno_turns")
    operations = calls.filter(prompt="vto")
    assert (
        turns.filter(decided_by="llm").height + turns["decided_by"].null_count()
        >= operations["request_hash"].n_unique()
    )
    refused = set(operations["request_hash"]) - set(found["request_hash"])
    assert refused
    assert turns["decided_by"].null_count() >= len(refused)
    # What was refused is not asked again by itself.
    with StandIn() as stand_in:
        done = Command(*options, home=home, **stand_in_environment(stand_in.base_url)).wait()
        assert done.code == 0, done
        assert stand_in.traffic.requests < len(refused)


def test_replay_of_an_empty_cache_touches_no_network(spoken: Built, unasked: Path, talks: Path, home: Path) -> None:
    options = ("run", "--only", "anno", "--sources", talks, "--warehouse", unasked)
    with StandIn() as stand_in:
        environ = {**stand_in_environment(stand_in.base_url), "MARQUEE_LLM_MODE": "replay"}
        done = Command(*options, home=home, **environ).wait()
        assert stand_in.traffic.requests == 0
    assert done.code == 0, done
    turns, before = content(unasked, "anno_turns"), content(spoken.root, "anno_turns")
    assert turns["decided_by"].null_count() == before.filter(decided_by="llm").height > 0
    rules = pl.col("decided_by") == "heuristic"
    assert turns.filter(rules).equals(before.filter(rules))
    assert Warehouse(unasked).rows("llm_calls") == 0


def _cut(lines: list[bytes]) -> bytes:
    return b"\n".join(line[: len(line) // 2] for line in lines)


def test_rubbish_among_the_dialogue_files_is_named_and_the_last_version_stays(
    spoken: Built, talks: Path, later: Path, home: Path, copied: Copied
) -> None:
    root, sources = copied(spoken.root, "rubbish"), copied(talks, "sources")
    folder = sources / "conversations"
    damage = {
        "redial/train_data.jsonl": random.Random(6).randbytes(30_000),
        "reddit/train_raw.jsonl": _cut((folder / "reddit" / "train_raw.jsonl").read_bytes().splitlines()),
        "iard/umap2020_IARD_Cai.json": b'[{"dialogue_info": 5}, null, {"dialogue_info": {"utterance": {}}}, "two", [[]]]',
        "muse/detail_convs/conv_7001.json": b'{"Conversations": 7, "Mentioned_item": "x"}',
        "muse/detail_convs/conv_7002.json": b"\xff\xfe\x00",
        "inspired/dialog_data/train.tsv": (later / INSPIRED).read_bytes(),
    }
    whole = {name: (folder / name).read_bytes() for name in (*damage, "opendialkg/opendialkg.csv")}
    for name, data in damage.items():
        (folder / name).write_bytes(data)
    (folder / "opendialkg" / "opendialkg.csv").unlink()
    options = ("refresh", "--only", "dialogues", "--sources", sources, "--warehouse", root)

    done = Command(*options, home=home).wait()
    assert done.code == 1, done
    assert "Traceback" not in done.err
    told = next(line for line in done.err.splitlines() if line.startswith("✗ core_dialogues.readable: "))
    for dataset, file in (
        ("redial", "redial/train_data.jsonl"),
        ("reddit", "reddit/train_raw.jsonl"),
        ("iard", "iard/umap2020_IARD_Cai.json"),
        ("muse", "muse/detail_convs/conv_700"),
    ):
        named = rf"{dataset}: \d+% of its files could not be read \(allowed 20%\).*; first: conversations/{file}"
        assert re.search(named, told), dataset
    assert "opendialkg: its files are gone; the last version stays" in told
    assert "what was published before stays published" in done.err
    for name in (*READ, "core_mentions"):
        both = [content(each, name).filter(pl.col("dataset") != "inspired") for each in (root, spoken.root)]
        assert both[0].equals(both[1]), name
    # A dataset whose files are sound goes on, and what is published belongs together.
    inspired = [content(each, "core_dialogues").filter(dataset="inspired").height for each in (root, spoken.root)]
    assert inspired[0] == inspired[1] - 1
    lost = content(root, "core_mentions").join(content(root, "core_turns"), on=["dialogue_id", "turn"], how="anti")
    assert lost.is_empty()

    for name, data in whole.items():
        (folder / name).write_bytes(data)
    done = Command(*options, home=home).wait()
    assert done.code == 0, done
    assert differing(root, spoken.root, [*READ, "core_mentions", "core_item_links"]) == []


# -- people ------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command that needs no dagster, in this process."""
    for name in ("MARQUEE_SOURCES", "MARQUEE_WAREHOUSE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Result:
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        return done

    return run


def _fill(file: Path, judge: Callable[[dict[str, str]], dict[str, str]]) -> list[dict[str, str]]:
    """Fill in a sheet as a spreadsheet would save it; returns its rows."""
    with file.open(encoding="utf-8-sig", newline="") as source:
        rows = [row | judge(row) | {"annotator": "ann"} for row in csv.DictReader(source)]
    with file.open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_what_people_say_wins_over_rules_and_the_model(
    spoken: Built, talks: Path, home: Path, ask: Callable[..., Result], copied: Copied, tmp_path: Path
) -> None:
    root = copied(spoken.root, "judged")
    options = ("--sources", talks, "--warehouse", root)
    sheets = {kind: tmp_path / f"{kind}.csv" for kind in ("vto", "strategy", "pair")}
    for kind, sheet in sheets.items():
        ask("annotate", "export", sheet, "--kind", kind, "--share", 0.1, *options)
    operations = _fill(sheets["vto"], lambda row: {"recall_context": "1", "note": "made up"})
    strategies = _fill(
        sheets["strategy"], lambda row: {"strategy": "offer_help"} if "strategy" in row else {"offer_help": "1"}
    )
    pairs = _fill(sheets["pair"], lambda row: {"better": "a"})
    calls = ledger(root)
    for sheet in sheets.values():
        ask("annotate", "import", sheet, *options)
    done = Command("refresh", "--only", "anno,pref", "--stand-in", *options, home=home).wait()
    assert done.code == 0, done

    judged = [row["item_id"] for row in operations]
    item = pl.concat_str("dialogue_id", "turn", separator="#").alias("item")
    turns = content(root, "anno_turns").with_columns(item)
    by_people = turns.filter(pl.col("item").is_in(judged))
    assert by_people.height == len(judged) == turns.filter(decided_by="human").height
    assert by_people["operations"].to_list() == [["recall_context"]] * len(judged)
    assert not by_people["is_stand_in"].any()
    before = content(spoken.root, "anno_turns").with_columns(item)
    assert set(before.filter(pl.col("item").is_in(judged))["decided_by"]) == {"heuristic", "llm"}
    others = ~pl.col("item").is_in(judged)
    assert turns.filter(others).equals(before.filter(others))
    # The evidence of the others stays beside theirs.
    sources = content(root, "anno_vto").with_columns(item).filter(pl.col("item").is_in(judged))["source"]
    assert {"human", "heuristic", "llm"} <= set(sources)

    chosen = content(root, "anno_strategy").with_columns(item).filter("is_chosen")
    said = chosen.filter(pl.col("item").is_in([row["item_id"] for row in strategies]))
    assert set(said["source"]) == {"human"}
    assert set(said["strategy"]) == {"offer_help"}
    preferred = content(root, "pref_pairs").filter(construction="human")
    assert 0 < preferred.height <= len(pairs)
    assert ledger(root).equals(calls), "nobody is asked about what people have judged"


def test_preference_data_leaves_as_files_with_its_splits(
    spoken: Built, ask: Callable[..., Result], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ask("export", "pref_dpo", out, "--format", "hf", "--warehouse", spoken.root)
    rows = query(spoken.root, "SELECT * FROM pref_dpo")
    found = {path.name.partition("-")[0]: pl.read_parquet(path) for path in (out / "data").iterdir()}
    assert set(found) == {"train", "validation", "test"}
    assert sum(part.height for part in found.values()) == rows.height > 0
    for name, part in found.items():
        assert set(part["split"]) == {{"validation": "valid"}.get(name, name)}
        assert set(part["pair_id"]) == set(
            rows.filter(pl.col("split").is_in(part["split"].unique().to_list()))["pair_id"]
        )
        first = part.row(0, named=True)
        assert [message["role"] for message in first["chosen"]] == ["assistant"]
        assert first["prompt"][-1]["role"] == "user"
        assert first["chosen"] != first["rejected"]
    assert "pref_dpo" in (out / "README.md").read_text(encoding="utf-8")
