"""Hostile input: a bad record costs itself, is named, and is in the books."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.dialogues.dialogue import find_name, plain
from pipelines.dialogues.read import DialoguesRead, read_dataset
from pipelines.dialogues.records import BadRecord, dumps, parse_json, python_literal
from warehouse.tables import dialogues as tables

Write = Callable[[str, Any], Path]


def redial(number: int | str, **changes: Any) -> dict[str, Any]:
    said = [{"text": f"see @4 in {number}", "senderWorkerId": 1}, {"text": "yes", "senderWorkerId": 2}]
    own = {"conversationId": number, "initiatorWorkerId": 1, "respondentWorkerId": 2, "messages": said}
    return {**own, "movieMentions": {"4": "Ox (2011)"}, **changes}


def read(dataset: str, sources: Path) -> DialoguesRead:
    found = read_dataset(dataset, sources, lambda text: None)
    for field, contract in {
        "dialogues": tables.CORE_DIALOGUES,
        "turns": tables.CORE_TURNS,
        "labels": tables.CORE_TURN_LABELS,
        "hints": tables.CORE_MENTION_HINTS,
        "feedback": tables.CORE_FEEDBACK,
        "items": tables.CORE_DIALOGUE_ITEMS,
        "rejects": tables.RAW_DIALOGUE_REJECTS,
        "files": tables.META_DIALOGUE_FILES,
    }.items():
        contract.check(getattr(found, field))
    assert found.files["rows_in"].to_list() == (found.files["rows_kept"] + found.files["rows_rejected"]).to_list()
    assert found.files["rows_rejected"].sum() == found.rejects.height
    return found


def rejected(sources: Path, dataset: str = "redial") -> list[tuple[int, str]]:
    return read(dataset, sources).rejects.select("line", "reason").rows()


def as_lines(*records: Any) -> str:
    return "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records)


BAD_REDIAL = [
    ('{"conversationId": 1', "not JSON: "),
    ("[1, 2]", "record: a list instead of an object"),
    ("null", "record: null instead of an object"),
    (json.dumps(redial(1) | {"conversationId": None}), "conversationId: null that is no id"),
    (json.dumps(redial(1) | {"conversationId": True}), "conversationId: a boolean that is no id"),
    (json.dumps(redial("a\nb")), "conversationId: text that is no id"),
    ('{"messages": [], "initiatorWorkerId": 1}', "conversationId: missing"),
    (json.dumps(redial(1, messages=[])), "no turn in it"),
    (json.dumps(redial(1, messages={})), "messages: an object instead of a list"),
    (json.dumps(redial(1, messages=["x"])), "messages[0]: text instead of an object"),
    (json.dumps(redial(1, messages=[{"senderWorkerId": 1}])), "messages[0].text: missing instead of text"),
    (json.dumps(redial(1, messages=[{"senderWorkerId": 1, "text": 5}])), "messages[0].text: a number instead of text"),
    (
        json.dumps(redial(1, messages=[{"senderWorkerId": 3, "text": "x"}])),
        "messages[0].senderWorkerId: 3 is neither initiator nor respondent",
    ),
    (json.dumps(redial(1, respondentWorkerId=1)), "respondentWorkerId: 1 is the initiator, too"),
    ("[" * 100_000, "not JSON: "),
    ('{"conversationId": \0 1}', "NUL byte"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_REDIAL)
def test_a_bad_record_is_rejected_with_the_key(write: Write, line: str, reason: str) -> None:
    found = read("redial", write("train_data.jsonl", as_lines(redial(7), line, redial(8))))
    assert found.dialogues["source_id"].to_list() == ["7", "8"]
    assert found.rejects.height == 1
    bad = found.rejects.row(0, named=True)
    assert (bad["file"], bad["line"]) == ("train_data.jsonl", 2)
    assert bad["reason"].startswith(reason)
    assert bad["raw"] == line[:2000].replace("\0", "\\x00")


def test_bytes_that_are_not_utf8_cost_their_line(write: Write) -> None:
    good = as_lines(redial(7)).encode()
    found = read(
        "redial", write("train_data.jsonl", good + b'{"conversationId": "\xff"}\n' + as_lines(redial(8)).encode())
    )
    assert found.dialogues.height == 2
    assert found.rejects["reason"].to_list() == ["byte 0xff at offset 20 of the line is not utf-8"]


def test_a_file_that_breaks_off_gives_what_is_before(write: Write) -> None:
    packed = gzip.compress(as_lines(*(redial(number) for number in range(3000))).encode())
    found = read("redial", write("train_data.jsonl.gz", packed[: len(packed) // 2]))
    assert 0 < found.dialogues.height < 3000
    assert found.rejects["reason"].to_list() == ["gzip stream ends early"]
    found = read("redial", write("train_data.jsonl.gz", b"no gzip at all"))
    assert found.rejects["reason"].to_list() == ["named .gz but not a gzip file"]


def test_odd_but_legal(write: Write) -> None:
    odd = redial(
        1,
        messages=[
            {"text": "", "senderWorkerId": 2, "timeOffset": -3},
            {"text": "a\x00b \ud83d \U0001f600\tc\x07 @4 and @99 \r\n", "senderWorkerId": "1", "timeOffset": "4.5"},
        ],
        initiatorQuestions=[],
        respondentQuestions={"4": {"suggested": 1, "seen": "maybe", "liked": 2, "why": "x"}, "5": 3},
        movieMentions={"4": "Ox  %26 Co ", "6": None, "7": 7},
    )
    found = read("redial", write("train_data.jsonl", as_lines(odd)))
    assert found.rejects.is_empty()
    first, second = found.turns.iter_rows(named=True)
    assert (first["text"], first["plain_text"], first["role"]) == ("", "", "recommender")
    assert first["time_offset_s"] is None
    assert json.loads(first["extra"]) == {"unreadable": {"timeOffset": -3}}
    # Kept word for word but for what no table can hold; in the readable text controls and line ends are gone.
    assert second["text"] == "ab \ufffd \U0001f600\tc\x07 @4 and @99 \r\n"
    assert second["plain_text"] == "ab \ufffd \U0001f600 c Ox & Co and @99"
    assert second["time_offset_s"] == 4.5
    hints = found.hints.select("item_id", "item_name", "start", "end").rows()
    assert hints == [("4", "Ox  %26 Co ", 10, 12), ("99", None, 17, 20)]
    assert [second["text"][start:end] for _, _, start, end in hints] == ["@4", "@99"]
    assert found.feedback.select("item_id", "question", "answer", "value").rows() == [
        ("4", "liked", "2", None),
        ("4", "suggested", "1", 1.0),
    ]
    assert json.loads(found.dialogues["extra"][0]) == {
        "unreadable": {
            "movieMentions": {"7": 7},
            "respondentQuestions.4.seen": "maybe",
            "respondentQuestions.4": {"why": "x"},
            "respondentQuestions.5": 3,
        }
    }


def test_a_turn_of_a_million_characters_is_kept_and_a_longer_one_is_not(write: Write) -> None:
    def of(number: int, size: int) -> dict[str, Any]:
        return redial(number, messages=[{"text": "y" * size, "senderWorkerId": 1}])

    found = read("redial", write("train_data.jsonl", as_lines(of(1, 1_000_000), of(2, 1_000_001))))
    assert found.turns["text"].str.len_chars().to_list() == [1_000_000]
    assert found.rejects["reason"].to_list() == ["messages[0].text: 1,000,001 characters, at most 1,000,000 are kept"]


def test_another_conversation_under_a_known_id_is_said_to_be_one(write: Write) -> None:
    other = redial(1, messages=[{"text": "something else", "senderWorkerId": 1}])
    reasons = rejected(write("train_data.jsonl", as_lines(redial(1), redial(1), other)))
    assert reasons == [
        (2, "the same conversation stands in train_data.jsonl line 1"),
        (3, "another conversation of this id stands in train_data.jsonl line 1"),
    ]


def test_files_without_common_ids_know_a_conversation_by_its_words(write: Write) -> None:
    def book(*texts: str) -> list[dict[str, str]]:
        return [{"role": ("user", "assistant")[at % 2], "text": text} for at, text in enumerate(texts)]

    def turn(dialog_id: int, context: list[str], resp: str) -> dict[str, Any]:
        return {"dialog_id": dialog_id, "turn_id": len(context), "context": context, "rec": ["Ox"], "resp": resp}

    write("dialog_Books.jsonl", as_lines(book("Hi", "Try Ox"), book("hi ", "try ox", "Thanks"), book("Hi", "Try Ox")))
    write("train_data_processed.jsonl", as_lines(turn(5000, ["Hi"], "Try Ox"), turn(1, ["Hi"], "No")))
    sources = write("valid_data_processed.jsonl", as_lines(turn(5001, ["Hi", "Try Ox", "Thanks"], "Bye")))
    found = read("opendialkg", sources)
    assert found.dialogues.select("source_id", "domain", "turns", "splits_stated").sort("source_id").rows() == [
        ("ievalm-1", "film", 2, ["train"]),
        ("ievalm-5001", "book", 4, ["train", "valid"]),
    ]
    assert found.rejects.select("file", "line", "reason").rows() == [
        ("dialog_Books.jsonl", line, "the same conversation stands in valid_data_processed.jsonl line 1")
        for line in (1, 2, 3)
    ] + [("train_data_processed.jsonl", 1, "the same conversation stands in valid_data_processed.jsonl line 1")]
    assert found.hints["item_id"].to_list() == ["Ox", "book:Ox"]

    # Of two lines of one file that begin alike both are kept; of two that are alike, one.
    alone = (
        write("alone/dialog_Books.jsonl", as_lines(book("Hi", "Ox"), book("Hi", "Ox", "Ok"), book("Hi", "Ox")))
        / "alone"
    )
    assert read("opendialkg", alone).dialogues["source_id"].to_list() == ["books-1", "books-2"]


def test_names_of_redial(write: Write) -> None:
    csv = 'movieId,movieName,nbMentions\n4,Ox (2011),x\n4,Ox,1\n5,,2\n,Nameless,2\n6,"A, B",3\n7\n'
    write("movies_with_mentions.csv", csv)
    found = read("redial", write("train_data.jsonl", as_lines(redial(1, movieMentions=[]))))
    assert found.rejects.select("line", "reason").rows() == [
        (3, "movieId: 4 stands there already"),
        (4, "movieName: empty"),
        (5, "movieId: text that is no id"),
        (7, "1 fields, header has 3"),
    ]
    # The conversation does not name @4; the table does.
    assert found.hints["item_name"].to_list() == ["Ox (2011)"]
    assert found.items.select("item_id", "item_name", "mentions_stated").rows() == [
        ("4", "Ox (2011)", None),
        ("6", "A, B", 3),
    ]


def test_inspired_rows(write: Write) -> None:
    header = "dialog_id\tutt_id\tspeaker\ttext\tmovies\tmovie_dict\n"
    rows = [
        'd\t1\tRECOMMENDER\t"quoted\tOx (2011); ox\t{"Ox": 1',
        "d\t2\tSEEKER\tshort\n",
        "d\t2\tNARRATOR\tx\t\t{}\n",
        "d\t2\tSEEKER\tox, Ox (2011)\tOx (2011);Ox\t__import__('os').getcwd()\n",
        "d\t2\tSEEKER\tox, Ox (2011)\tOx (2011);Ox\t{}\n",
        "d\t2\tSEEKER\tsomething else\t\t{}\n",
        "\t3\tSEEKER\tx\t\t{}\n",
    ]
    found = read("inspired", write("dialog_data/train.tsv", header + rows[0] + "\n" + "".join(rows[1:])))
    assert found.rejects.select("line", "reason").rows() == [
        (3, "4 fields, header has 6"),
        (4, "speaker: neither RECOMMENDER nor SEEKER"),
        (6, "the same conversation stands in dialog_data/train.tsv line 5"),
        (7, "utt_id: another 2 stands in dialog_data/train.tsv line 5"),
        (8, "dialog_id: text that is no id"),
    ]
    assert found.turns["text"].to_list() == ['"quoted', "ox, Ox (2011)"]
    unreadable = [json.loads(extra)["unreadable"] for extra in found.turns["extra"]]
    assert unreadable == [{"movie_dict": '{"Ox": 1'}, {"movie_dict": "__import__('os').getcwd()"}]
    spans = found.hints.filter(turn=1).select("item_id", "start", "end").rows()
    assert spans == [("Ox", 0, 2), ("Ox (2011)", 4, 13)]


def test_lines_of_one_dialogue_that_disagree(write: Write) -> None:
    def line(context: list[Any], resp: Any, **changes: Any) -> dict[str, Any]:
        return {"dialog_id": "d", "context": context, "resp": resp, "rec": [], "is_user": 0, **changes}

    rows = [
        line([""], "one", is_user=1),
        line(["", "one", "two"], "three", is_user=1),
        line(["", "other"], "two"),
        line(["", "one", "two"], "three", is_user=1),
        line(["", "one", 2], "three"),
        line([""], None),
        line([""], "one", is_user="no"),
        line(["", "one", "two", "three"], "four", rec="Ox"),
    ]
    found = read("reddit", write("reddit/train_raw.jsonl", as_lines(*rows)))
    assert found.turns.select("text", "role").rows() == [("one", "seeker"), ("two", "recommender"), ("three", "seeker")]
    assert found.rejects.select("line", "reason").rows() == [
        (3, "context: dialog_id d goes otherwise in reddit/train_raw.jsonl line 2"),
        (4, "the same conversation stands in reddit/train_raw.jsonl line 2"),
        (5, "context[2]: not a text"),
        (6, "resp: null instead of text"),
        (7, "is_user: neither 0 nor 1"),
        (8, "rec: text instead of a list"),
    ]


@pytest.mark.parametrize(
    ("dataset", "name", "content", "reasons"),
    [
        ("muse", "detail_convs/a.json", '{"Conversations": [{"User": "x"', ["not JSON: "]),
        ("muse", "detail_convs/a.json", '{"Conversations": [{"User": "a", "Assistant": "b"}]}', ["Conversations[0]: both"]),
        ("muse", "detail_convs/a.json", '{"Conversations": [{"Action": "a"}]}', ["Conversations[0]: neither"]),
        ("muse", "detail_convs/a.json", '{"Conversations": 1}', ["Conversations: a number instead of a list"]),
        ("muse", "user_profiles.json", '[{"target_item": 1}, 2]', ["target_item: a number", "profile: a number"]),
        ("iard", "umap2020_IARD.json", '{"1": {"dialogue_info": []}}', ["dialogue_info: a list instead of an object"]),
        ("iard", "umap2020_IARD.json", '{"1": {"dialogue_info": {}}, "": 1}', ["no turn in it", "the conversation's key"]),
        ("iard", "umap2020_IARD.json", '[{"dialogue_info": {}}]', ["not an object of conversations"]),
        ("opendialkg", "opendialkg.csv", "Messages,User Rating\n[],1\nx,2\n{},3\n", ["no turn", "not JSON", "Messages: not"]),
        ("opendialkg", "dialog_Books.jsonl", '[{"role": "user", "text": 1}]\n', ["[0].text: a number instead of text"]),
        ("inspired", "survey_data/rec_x.tsv", "who\twhat\na\tb\n", ["none of the columns"]),
    ],
)  # fmt: skip
def test_bad_records_of_the_other_layouts(
    write: Write, dataset: str, name: str, content: str, reasons: list[str]
) -> None:
    found = [reason for _, reason in rejected(write(name, content), dataset)]
    assert len(found) == len(reasons)
    assert all(reason.startswith(begin) for reason, begin in zip(found, reasons, strict=True))


# ------------------------------------------------------------------------------------------------------------ properties

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_KEYS = (
    "conversationId",
    "messages",
    "initiatorWorkerId",
    "movieMentions",
    "initiatorQuestions",
    "respondentQuestions",
    "x",
)


@st.composite
def _records(draw: st.DrawFn) -> str:
    """A good conversation, one with a value exchanged, or any text on one line."""
    record = redial(draw(st.integers(0, 30)))
    kind = draw(st.sampled_from(["good", "changed", "message", "text"]))
    if kind == "changed":
        record[draw(st.sampled_from(_KEYS))] = draw(_VALUES)
    elif kind == "message":
        record["messages"][draw(st.integers(0, 1))][draw(st.sampled_from(["text", "senderWorkerId", "timeOffset"]))] = (
            draw(_VALUES)
        )
    elif kind == "text":
        return draw(st.text(st.characters(exclude_characters="\r\n"), max_size=30))
    return json.dumps(record)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(_records(), max_size=8))
def test_whatever_stands_in_a_file_the_books_balance(rows: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    sources = tmp_path_factory.mktemp("mixture")
    (sources / "train_data.jsonl").write_text(as_lines(redial(1000), *rows), encoding="utf-8", newline="\n")
    found = read("redial", sources)
    assert found.files["rows_in"].sum() == 1 + sum(bool(line.strip()) for line in rows)
    assert "1000" in found.dialogues["source_id"].to_list()
    again = read("redial", sources)
    assert found.dialogues.equals(again.dialogues)
    assert found.turns.equals(again.turns)


@settings(max_examples=25, deadline=None)
@given(at=st.integers(0, 5), text=st.text(st.characters(exclude_characters="\r\n"), max_size=20))
def test_a_broken_line_costs_only_itself(at: int, text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    sources = tmp_path_factory.mktemp("broken")
    rows = [json.dumps(redial(number)) for number in range(6)]
    (sources / "train_data.jsonl").write_text(as_lines(*rows), encoding="utf-8", newline="\n")
    whole = read("redial", sources)
    rows[at] = "{" + text
    (sources / "train_data.jsonl").write_text(as_lines(*rows), encoding="utf-8", newline="\n")
    found = read("redial", sources)
    assert found.dialogues.equals(whole.dialogues.filter(pl.col("source_id") != str(at)))
    assert found.turns.equals(whole.turns.filter(pl.col("dialogue_id") != f"redial-{at}"))
    assert found.rejects["line"].to_list() == [at + 1]


@given(value=_VALUES)
@settings(max_examples=60, deadline=None)
def test_json_is_read_without_what_no_table_can_hold(value: Any) -> None:
    parsed = parse_json(json.dumps(value))
    written = dumps(parsed)
    written.encode("utf-8")
    assert "\0" not in written
    assert dumps(json.loads(written)) == written


@given(text=st.text(max_size=40), name=st.text(min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_a_found_name_stands_where_it_is_said_to(text: str, name: str) -> None:
    span = find_name(text, name)
    if span is not None:
        start, end = span
        assert 0 <= start < end <= len(text)
    assert "  " not in plain(text)


def test_finding_names() -> None:
    assert find_name("seen TIN drummers?", "Tin Drummers (2004)") == (5, 17)
    assert find_name("Tin Drummers (2004)!", "Tin Drummers (2004)") == (0, 19)
    assert find_name("latin drummers", "Tin Drummers") is None
    assert find_name("ox and ox", "Ox", [(0, 2)]) == (7, 9)
    assert find_name("İstanbul ox", "ox") == (9, 11)
    assert find_name("anything", " () ") is None


def test_literals_are_data_and_nothing_else() -> None:
    assert python_literal("{'a': 1, \"b's\": 2}") == {"a": 1, "b's": 2}
    for text in ("{'a': 1", "[1]", "__import__('os')", "{1: {2}}", "(" * 2000, "{" * 600 + "}" * 600, "x" * 60_000):
        assert python_literal(text) is None
    with pytest.raises(BadRecord, match="not JSON"):
        parse_json("{")


_ODD = st.sampled_from(
    [None, True, -1, 10**30, float("nan"), "", "\0", "\ud800", "a\nb", "@5 <", [], {}, [None], {"": {}}]
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value inside `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


def _exchanged(text: str, path: tuple[Any, ...], odd: Any) -> str:
    value = holder = json.loads(text)
    for step in path[:-1]:
        holder = holder[step]
    if not path:
        return json.dumps(odd)
    holder[path[-1]] = odd
    return json.dumps(value)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_at_any_place_costs_at_most_its_record(datasets: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(path for path in datasets.rglob("*.json*"))))
    before = file.read_text(encoding="utf-8")
    rows = [before] if file.suffix == ".json" else before.splitlines()
    at = data.draw(st.integers(0, len(rows) - 1))
    rows[at] = _exchanged(rows[at], data.draw(st.sampled_from(_places(json.loads(rows[at])))), data.draw(_ODD))
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    try:
        for dataset in tables.DATASETS:
            read(dataset, datasets)  # which checks contracts and books
    finally:
        file.write_text(before, encoding="utf-8")
