"""Which file is in which layout."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.dialogues.layouts import LAYOUTS, listed
from pipelines.dialogues.read import READERS, read_dataset
from pipelines.dialogues.splits import redial_split, split_by_hash, stated_split, strictest
from warehouse.tables.dialogues import DATASETS

Write = Callable[[str, Any], Path]

REDIAL = '{"conversationId": "1", "messages": [{"senderWorkerId": 1, "text": ""}]}\n'
IEVALM = '{"conversationId": "1", "messages": [{"senderWorkerId": 1, "masked_text": ""}]}\n'
PER_TURN = '{"context": [""], "resp": "x", "rec": [], "dialog_id": "d", "turn_id": 0, "is_user": 0}\n'
PROMPTED = '{"input": "y", "context": [""], "resp": "x", "rec": [], "dialog_id": "d", "is_user": 0}\n'
EVALUATION = '{"dialog_id": 1, "turn_id": 1, "context": ["a"], "entity": [], "rec": [], "resp": "x"}\n'
UTTERANCES = "dialog_id\tutt_id\tspeaker\tturn_id\ttext\n"

# Where a file lies, what it holds, and its layout; None: not a dialogue file.
FILES = [
    ("redial/official/train_data.jsonl", REDIAL, "redial"),
    ("somewhere/else/test_data.jsonl", REDIAL, "redial"),
    ("valid_data.jsonl", REDIAL, "redial"),
    ("opendialkg/train_data.jsonl", REDIAL, "redial"),
    ("redial/valid_data.jsonl", IEVALM, "redial_ievalm"),
    ("redial/movies_with_mentions.csv", "movieId,movieName,nbMentions\n", "redial_items"),
    ("inspired/redial/train_raw.jsonl", PER_TURN, "redial_per_turn"),
    ("redial/Inspired-v2/valid.jsonl", PER_TURN, "inspired_per_turn"),
    ("data/Reddit-Movie/large/test_raw.jsonl", PER_TURN, "reddit_per_turn"),
    ("nobody/test_raw.jsonl", PER_TURN, None),
    ("inspired/he/test.jsonl", PROMPTED, None),
    ("reddit/test.jsonl", "not even JSON", None),
    ("reddit/large/entity2id.json", "{}", None),
    ("data/Reddit-Movie/large/entity2id.json", "{}", "reddit_entities"),
    ("inspired/dialog_data/dev.tsv", UTTERANCES, "inspired"),
    ("loose/train.tsv", UTTERANCES, "inspired"),
    ("loose/test.tsv", "title\tyear\n", None),
    ("loose/dev.tsv", "", None),
    ("inspired/survey_data/rec_personality.tsv", "User_ID\tOpen\n", "inspired_surveys"),
    ("kg/opendialkg.csv", '"Messages","User Rating"\n', "opendialkg"),
    ("opendialkg/x/train_data_processed.jsonl", EVALUATION, "opendialkg_ievalm"),
    ("other/valid_data_processed.jsonl", EVALUATION, "opendialkg_ievalm"),
    ("redial/train_data_processed.jsonl", '{"context": [], "resp": "x"}\n', None),
    ("opendialkg/dialog_Books.jsonl", '[{"role": "user", "text": "x"}]\n', "opendialkg_books"),
    ("opendialkg/id2info.json", "{}", "opendialkg_items"),
    ("redial/ievalm/id2info.json", "{}", None),
    ("opendialkg/train_data_id.json", "[]", None),
    ("muse/detail_convs/conv_1.json", '{"Conversations": []}', "muse"),
    ("loose/conv_2.json", '{"Conversations": []}', "muse"),
    ("loose/conv_3.json", '{"layers": []}', None),
    ("muse/user_profiles.json", '[{"target_item": {}}]', "muse_profiles"),
    ("shop/user_profiles.json", '[{"age": 1}]', None),
    ("muse/scenarios.json", "{}", None),
    ("iard/umap2020_IARD_Cai.json", '{"1": {"dialogue_info": {}}}', "iard"),
]


def assigned(sources: Path) -> dict[str, tuple[str, str | None]]:
    found = [(each.file.name, (each.layout.name, each.problem)) for each in listed(sources)]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_each_file_is_in_one_layout(write: Write) -> None:
    for name, content, _ in FILES:
        sources = write(name, content)
    expected = {name: (layout, None) for name, _, layout in FILES if layout}
    assert assigned(sources) == expected
    assert {layout for layout, _ in expected.values()} | {"redial_entities", "inspired_entities"} == {
        layout.name for layout in LAYOUTS
    }


def test_compressed_files_and_archives_are_the_same_to_it(write: Write) -> None:
    write("a/train_data.jsonl.gz", gzip.compress(REDIAL.encode()))
    sources = write("b/none.txt", "")
    with zipfile.ZipFile(sources / "inspired.zip", "w") as archive:
        archive.writestr("he/train_raw.jsonl", PER_TURN)
        archive.writestr("he/entity2id.json", "{}")
    assert assigned(sources) == {
        "a/train_data.jsonl.gz": ("redial", None),
        "inspired.zip/he/train_raw.jsonl": ("inspired_per_turn", None),
        "inspired.zip/he/entity2id.json": ("inspired_entities", None),
    }


@pytest.mark.parametrize(
    ("dataset", "name", "content", "reason"),
    [
        (
            "redial",
            "r/train_data.jsonl",
            '{"rows": 1}\n{"rows": 2}\n',
            "without conversationId, messages, senderWorkerId",
        ),
        ("reddit", "reddit/train_raw.jsonl", PROMPTED, "with input"),
        ("inspired", "x/dialog_data/dev.tsv", "title\tyear\n1\t2\n", "without dialog_id, utt_id, speaker, text"),
        ("opendialkg", "opendialkg.csv", "a,b\n1,2\n", "without Messages"),
        ("muse", "detail_convs/new.json", "[]", "without Conversations"),
    ],
)
def test_unknown_content_under_a_known_name_is_a_reject(
    write: Write, dataset: str, name: str, content: str, reason: str
) -> None:
    found = read_dataset(dataset, write(name, content), lambda text: None)
    assert found.rejects.select("file", "line", "reason").rows() == [
        (name, 1, f"not a layout that is known under this name: {reason}")
    ]
    assert found.files.select("rows_in", "rows_kept", "rows_rejected").rows() == [(1, 0, 1)]
    assert found.dialogues.is_empty()


def test_the_beginning_is_looked_at_not_the_first_line(write: Write) -> None:
    sources = write("train_data.jsonl", '{"broken": \n' + IEVALM + REDIAL.replace("conversationId", "x"))
    assert assigned(sources) == {"train_data.jsonl": ("redial_ievalm", None)}
    # What somebody says is no key.
    sources = write("train_data.jsonl", REDIAL.replace('"text": ""', r'"text": "\"masked_text\": 1"'))
    assert assigned(sources) == {"train_data.jsonl": ("redial", None)}


def test_layouts_are_sound_data() -> None:
    assert {layout.dataset for layout in LAYOUTS} == set(DATASETS) == set(READERS)
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    assert all(layout.files or layout.files_if_fitting for layout in LAYOUTS)
    assert all(layout.needs for layout in LAYOUTS if layout.files_if_fitting)
    text = Path(__file__).parents[3].joinpath("docs", "dialogue-datasets.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))
    assert told == {layout.name for layout in LAYOUTS}


def test_splits() -> None:
    names = ["a/train_data.jsonl", "dev.tsv", "x/test_raw.jsonl.gz", "valid.jsonl", "training/opendialkg.csv"]
    assert [stated_split(name) for name in names] == ["train", "valid", "test", "valid", None]
    assert strictest(["train", "test", "valid"]) == "test"
    assert strictest([]) is None
    assert [redial_split(number, stated) for number, stated in [
        ("19999", []), ("20000", []), ("20000", ["train"]), ("5", ["valid", "train"]), ("5", ["test"]), ("9" * 40, []),
    ]] == ["train", "test", "test", "valid", "test", "test"]  # fmt: skip
    # Fixed for ever: a changed split would move what was tested on into training.
    assert [split_by_hash(f"muse-conv_{number}") for number in range(12)] == [
        "train", "test", "train", "train", "train", "train", "test", "train", "train", "train", "valid", "valid",
    ]  # fmt: skip
    counts = [split_by_hash(str(number)) for number in range(5000)]
    assert 0.78 < counts.count("train") / 5000 < 0.82
    assert 0.08 < counts.count("test") / 5000 < 0.12
