"""Every layout, read from small invented datasets: what lands in which table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.dialogues.read import DialoguesRead, dataset_files, read_dataset
from warehouse.tables.dialogues import (
    CORE_DIALOGUE_ITEMS,
    CORE_DIALOGUES,
    CORE_FEEDBACK,
    CORE_MENTION_HINTS,
    CORE_TURN_LABELS,
    CORE_TURNS,
    DATASETS,
    META_DIALOGUE_FILES,
    RAW_DIALOGUE_REJECTS,
)

CONTRACTS = {
    "dialogues": CORE_DIALOGUES,
    "turns": CORE_TURNS,
    "labels": CORE_TURN_LABELS,
    "hints": CORE_MENTION_HINTS,
    "feedback": CORE_FEEDBACK,
    "items": CORE_DIALOGUE_ITEMS,
    "rejects": RAW_DIALOGUE_REJECTS,
    "files": META_DIALOGUE_FILES,
}


def read(dataset: str, sources: Path) -> DialoguesRead:
    return read_dataset(dataset, sources, lambda text: None)


def same(one: DialoguesRead, other: DialoguesRead, but: tuple[str, ...] = ()) -> bool:
    return all(getattr(one, name).equals(getattr(other, name)) for name in CONTRACTS if name not in but)


def row(frame: pl.DataFrame, **where: Any) -> dict[str, Any]:
    """The one row that has these values."""
    found = frame.filter(*(pl.col(name) == value for name, value in where.items()))
    assert found.height == 1, found
    return found.row(0, named=True)


@pytest.mark.parametrize("dataset", DATASETS)
def test_tables_fit_their_contracts_and_books_balance(datasets: Path, dataset: str) -> None:
    found = read(dataset, datasets)
    for name, contract in CONTRACTS.items():
        contract.check(getattr(found, name))
    assert found.dialogues.height > 0
    books = found.files.select((pl.col("rows_in") - pl.col("rows_kept") - pl.col("rows_rejected")).abs().sum()).item()
    assert books == 0
    assert found.files["rows_rejected"].sum() == found.rejects.height
    assert same(found, read(dataset, datasets))


@pytest.mark.parametrize("dataset", DATASETS)
def test_fingerprints_are_those_that_reading_states(datasets: Path, dataset: str) -> None:
    columns = ["dataset", "file", "layout", "size_bytes", "mtime_ns", "sha256", "reader_version"]
    files = dataset_files(dataset, datasets, META_DIALOGUE_FILES.empty())
    read_files = read(dataset, datasets).files
    assert files.columns == columns
    assert files.equals(read_files.select(columns))
    # Known digests are believed where size and time of change are the same, and only there.
    believed = read_files.with_columns(sha256=pl.lit("as before"))
    assert set(dataset_files(dataset, datasets, believed)["sha256"]) == {"as before"}
    moved = believed.with_columns(pl.col("mtime_ns") + 1)
    assert dataset_files(dataset, datasets, moved).equals(files)


def test_nothing_to_read_is_no_error(tmp_path: Path) -> None:
    for dataset in DATASETS:
        found = read(dataset, tmp_path)
        assert all(getattr(found, name).equals(contract.empty()) for name, contract in CONTRACTS.items())
        assert dataset_files(dataset, tmp_path, META_DIALOGUE_FILES.empty()).is_empty()
    with pytest.raises(ValueError, match="no dialogue dataset 'wikitalk'; known: redial"):
        read("wikitalk", tmp_path)
    with pytest.raises(FileNotFoundError):
        read("redial", tmp_path / "absent")


def test_redial(datasets: Path) -> None:
    found = read("redial", datasets)
    assert sorted(found.dialogues["source_id"]) == ["20001", "5", "6", "7", "8"]
    one = row(found.dialogues, source_id="5")
    assert (one["dialogue_id"], one["seeker_id"], one["recommender_id"]) == ("redial-5", "1", "2")
    assert (one["file"], one["line"], one["turns"]) == ("a/redial/train_data.jsonl", 1, 4)

    turns = found.turns.filter(dialogue_id="redial-5")
    assert turns["role"].to_list() == ["seeker", "recommender", "seeker", "recommender"]
    assert turns["time_offset_s"].to_list() == [0, 5, 10, 15]
    assert turns["text"][2] == "saw it, and @12 too"
    assert turns["plain_text"][1:3].to_list() == [
        "how about Glass Harbour (1999) ?",
        'saw it, and "Tin" Drummers (2004) too',
    ]
    assert json.loads(turns["extra"][0]) == {"messageId": 900}

    hint = row(found.hints, dialogue_id="redial-5", turn=1)
    assert (hint["kind"], hint["start"], hint["end"]) == ("id", 10, 13)
    assert (hint["item_id"], hint["item_name"]) == ("11", "Glass Harbour  (1999)")

    answers = found.feedback.filter(dialogue_id="redial-5").sort("side", "question")
    assert answers.select("side", "question", "answer", "value").rows() == [
        ("recommender", "liked", "2", None),
        ("recommender", "seen", "0", 0.0),
        ("recommender", "suggested", "1", 1.0),
        ("seeker", "liked", "0", 0.0),
        ("seeker", "seen", "1", 1.0),
        ("seeker", "suggested", "1", 1.0),
    ]
    assert set(answers["item_name"]) == {"Glass Harbour  (1999)"}
    items = found.items.select("item_id", "item_name", "mentions_stated").rows()
    assert items == [
        ("11", "Glass Harbour  (1999)", 3),
        ("12", "%22Tin%22 Drummers (2004)", None),
        ("13", "Ox (2011)", 1),
    ]


def test_redial_conversations_in_two_files_are_kept_once(datasets: Path) -> None:
    found = read("redial", datasets)
    splits = {
        source_id: (split, stated)
        for source_id, split, stated in found.dialogues.select("source_id", "split", "splits_stated").rows()
    }
    assert splits == {
        "5": ("train", ["train"]),
        "6": ("train", ["train", "valid"]),  # iEvaLM's own split is recorded and not followed
        "7": ("valid", ["valid"]),
        "8": ("train", ["valid"]),
        "20001": ("test", ["test"]),
    }
    repeated = found.rejects.row(0, named=True)
    assert (repeated["file"], repeated["line"]) == ("c/ievalm/valid_data.jsonl", 1)
    assert repeated["reason"] == "the same conversation stands in a/redial/train_data.jsonl line 2"
    extra = json.loads(row(found.turns, dialogue_id="redial-8", turn=0)["extra"])
    assert extra["item"] == ["Glass Harbour (1999)"]


def test_iard_follows_redials_splits(datasets: Path) -> None:
    found = read("iard", datasets)
    assert dict(found.dialogues.select("conversation_id", "split").iter_rows()) == {
        "redial-5": "train",
        "redial-7": "valid",
        "redial-20001": "test",
    }
    hint = row(found.hints, dialogue_id="iard-5")
    turn = row(found.turns, dialogue_id="iard-5", turn=1)
    assert turn["text"][hint["start"] : hint["end"]] == "@11 <Glass Harbour  (1999)>"
    assert (turn["plain_text"], hint["item_name"]) == ("Try Glass Harbour (1999), ok?", "Glass Harbour  (1999)")
    labels = found.labels.filter(dialogue_id="iard-5", turn=1).sort("scheme", "position")
    assert labels.select("scheme", "position", "label").rows() == [
        ("iard_intent", 0, "Recommend"),
        ("iard_intent", 1, "OTH"),
        ("iard_sub_intent", 0, "X"),
    ]
    accepted = row(found.feedback, dialogue_id="iard-5")
    assert (accepted["question"], accepted["answer"], accepted["value"]) == ("accepted", "[2]", 1.0)

    # Its fingerprint changes with what ReDial holds out, and with nothing else of ReDial.
    version = dataset_files("iard", datasets, META_DIALOGUE_FILES.empty())["reader_version"].item()
    (datasets / "a/redial/train_data.jsonl").unlink()
    assert dataset_files("iard", datasets, META_DIALOGUE_FILES.empty())["reader_version"].item() == version
    (datasets / "b/valid_data.jsonl").unlink()
    assert dataset_files("iard", datasets, META_DIALOGUE_FILES.empty())["reader_version"].item() != version
    assert set(read("iard", datasets).dialogues["split"]) == {"train", "test"}


def test_inspired(datasets: Path) -> None:
    found = read("inspired", datasets)
    one = row(found.dialogues, source_id="d1.pkl")
    assert (one["split"], one["outcome"], one["turns"]) == ("valid", "accept_rating_good", 3)
    assert (one["seeker_id"], one["recommender_id"]) == ("user_1", "user_0")
    extra = json.loads(one["extra"])
    assert (extra["movie_dict"], extra["movie_id"]) == ({"Glass Harbour (1999)": 0}, "abcDEF")

    turns = found.turns.filter(dialogue_id="inspired-d1.pkl")
    assert turns["role"].to_list() == ["recommender", "seeker", "recommender"]
    assert turns["plain_text"][2] == '"Yes"'
    assert json.loads(turns["extra"][1]) == {"utt_id": "2", "turn_id": "1"}
    labels = found.labels.filter(dialogue_id="inspired-d1.pkl", turn=2).sort("scheme")
    assert labels.select("scheme", "label").rows() == [
        ("inspired_second_strategy", "similarity"),
        ("inspired_strategy", "offer_help"),
    ]
    hints = found.hints.filter(dialogue_id="inspired-d1.pkl").select("kind", "start", "end", "item_id").rows()
    assert hints == [("column", 8, 21, "Glass Harbour (1999)"), ("column", None, None, "Absent Film (2001)")]

    answers = {
        r["question"]: (r["side"], r["value"])
        for r in found.feedback.filter(dialogue_id="inspired-d1.pkl").iter_rows(named=True)
    }
    assert answers == {
        "accepted": ("seeker", 1.0),
        "warm": ("seeker", 0.75),
        "boring": ("seeker", 0.0),
        "creative": ("seeker", None),
        "Open": ("recommender", 0.5),
        "Power": ("recommender", 1.0),
    }
    assert row(found.feedback, dialogue_id="inspired-d2.pkl")["value"] == 0.0


def test_a_line_for_each_turn(datasets: Path) -> None:
    found = read("inspired", datasets)
    turns = found.turns.filter(dialogue_id="inspired-test_0")
    assert turns["text"].to_list() == ["Hello", "Seen Glass Harbour?", "No"]
    assert turns["role"].to_list() == ["recommender", "seeker", "recommender"]
    hints = (
        found.hints.filter(dialogue_id="inspired-test_0").select("kind", "start", "end", "item_id", "item_name").rows()
    )
    assert hints == [
        ("entity", 5, 18, "Glass_Harbour_(1999_film)", "Glass Harbour (1999 film)"),
        ("entity", None, None, "77", None),
    ]
    assert row(found.dialogues, source_id="test_0")["split"] == "test"
    assert "x/inspired/he/test.jsonl" not in found.files["file"].to_list()

    reddit = read("reddit", datasets)
    assert dict(reddit.dialogues.select("dialogue_id", "split").iter_rows()) == {
        "reddit-train_0": "train",
        "reddit-valid_0": "valid",
    }
    assert reddit.turns.filter(dialogue_id="reddit-valid_0")["role"].to_list() == ["seeker", "recommender", "seeker"]


def test_opendialkg(datasets: Path) -> None:
    found = read("opendialkg", datasets)
    assert dict(found.dialogues.select("source_id", "domain").iter_rows()) == {
        "csv-2": "mixed",
        "ievalm-3": "film",
        "ievalm-4": "film",
        "books-1": "book",
    }
    # The file has no ids: the same words on another line are the same conversation.
    assert found.rejects["reason"].to_list() == ["the same conversation stands in kg/opendialkg.csv line 2"]
    assert dict(found.dialogues.select("source_id", "splits_stated").iter_rows())["ievalm-3"] == ["train", "valid"]
    assert row(found.dialogues, source_id="ievalm-4")["split"] == "valid"

    turns = found.turns.filter(dialogue_id="opendialkg-ievalm-3")
    assert turns["role"].to_list() == ["seeker", "recommender", "seeker", "recommender"]
    assert row(found.hints, dialogue_id="opendialkg-ievalm-3")["start"] == 18
    official = found.turns.filter(dialogue_id="opendialkg-csv-2")
    assert official["text"].to_list() == ["Anything by Ada Quill?", "She made Glass Harbour."]
    assert json.loads(official["extra"][1])["actions"][0]["action_id"] == "step"
    hint = row(found.hints, dialogue_id="opendialkg-csv-2")
    assert (hint["turn"], hint["start"], hint["item_id"]) == (1, 9, "Glass Harbour")
    rating = row(found.feedback, dialogue_id="opendialkg-csv-2")
    assert (rating["side"], rating["question"], rating["value"]) == ("seeker", "rating", 1.0)
    assert found.items.select("item_id", "item_name", "domain").rows() == [
        ("Glass Harbour", "Glass Harbour", "mixed"),
        ("Ox", "Ox (2011)", "mixed"),
        ("Tin Drummers", "Tin Drummers", "mixed"),
        ("book:Ox", "Ox", "book"),
    ]


def test_muse(datasets: Path) -> None:
    found = read("muse", datasets)
    one = row(found.dialogues, source_id="conv_1")
    assert (one["persona"], one["scenario"], one["target_item"], one["domain"]) == ("Ann", "A party", "2", "fashion")
    assert found.labels["label"].to_list() == ["chit-chat", "chit-chat", "recommend"]
    assert found.turns["images"].to_list() == [[], [], ["images_main/2"]]
    assert found.turns["captions"].to_list() == [[], [], []]
    assert found.hints.select("turn", "kind", "start", "item_id", "item_name").rows() == [
        (2, "item", None, "2", "Red Sandal"),
        (2, "item", None, "9", None),
    ]
    assert found.items.select("item_id", "item_name").rows() == [("2", "Red Sandal")]


@pytest.mark.parametrize("dataset", DATASETS)
def test_names_of_folders_and_order_of_files_do_not_matter(datasets: Path, dataset: str, tmp_path: Path) -> None:
    before = read(dataset, datasets)
    moved = tmp_path / "moved"
    for number, name in enumerate(sorted(path.name for path in datasets.iterdir())):
        # Later folders come first now; those of which the name says something keep it.
        shutil.move(datasets / name, moved / f"z{9 - number}" / name)
    after = read(dataset, moved)
    where = ("file", "line")
    assert after.dialogues.drop(where).equals(before.dialogues.drop(where))
    assert same(after, before, but=("dialogues", "rejects", "files"))
