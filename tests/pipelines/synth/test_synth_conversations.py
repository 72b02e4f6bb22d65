"""Synthetic conversations: the truth stands where it says, outcomes follow from tastes, damage is counted."""

from __future__ import annotations

import csv
import hashlib
import json
from itertools import pairwise
from pathlib import Path
from random import Random

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dialogues.read import read_dataset
from pipelines.synth.conversations import iard, inspired, opendialkg, redial
from pipelines.synth.conversations.course import Conversation, Manner, conversation, thread
from pipelines.synth.conversations.damage import long_text
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import (
    FILM_SLOTS,
    GENRE_SLOTS,
    PERSON_SLOTS,
    RECOMMENDER,
    SEEKER,
    Act,
    Slot,
    acts,
    genre_words,
    parsed,
    slots_of,
    wording,
    wordings,
    words,
)
from pipelines.synth.conversations.script import messages
from pipelines.synth.conversations.spelling import named, pieces, slipped, spelt, style, text_of
from pipelines.synth.conversations.truth import SCHEMAS, Truth
from pipelines.synth.conversations.write import SHARES, default_dialogues
from pipelines.synth.pack import PackSummary, write_pack
from pipelines.synth.words import facts
from pipelines.synth.world import make_world
from warehouse.tables.annotation import OPERATIONS, STRATEGIES
from warehouse.tables.dialogues import DATASETS

MOVIES, DIALOGUES = 300, 120


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> PackSummary:
    return write_pack(tmp_path_factory.mktemp("talk") / "pack", movies=MOVIES, seed=5, dialogues=DIALOGUES)


@pytest.fixture(scope="module")
def pack(summary: PackSummary) -> Path:
    return summary.out


@pytest.fixture(scope="module")
def pool() -> FilmPool:
    return FilmPool(make_world(MOVIES, 5))


def truth(pack: Path, name: str, dataset: str | None = None) -> pl.DataFrame:
    frame = pl.read_parquet(pack / "truth" / f"{name}.parquet")
    return frame if dataset is None else frame.filter(pl.col("dataset") == dataset)


def redial_records(pack: Path) -> list[dict[str, object]]:
    """The conversations that can be read, each once, by the standard library's JSON."""
    found = {}
    for name in ("train_data", "test_data"):
        for line in (pack / f"conversations/redial/{name}.jsonl").read_bytes().split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record["messages"], list):
                found[record["conversationId"]] = record
    return list(found.values())


def texts_by_turn(dataset: str, pack: Path) -> dict[tuple[str, int], str]:
    """(source_id, turn) -> text, read here by the datasets' own descriptions."""
    folder = pack / "conversations" / dataset
    texts: dict[tuple[str, int], str] = {}
    if dataset == "redial":
        for record in redial_records(pack):
            for turn, message in enumerate(record["messages"]):  # type: ignore[arg-type, var-annotated]
                texts[str(record["conversationId"]), turn] = message["text"]
    elif dataset == "inspired":
        for name in ("train", "dev", "test"):
            turns: dict[str, int] = {}
            for line in (folder / f"dialog_data/{name}.tsv").read_text("utf-8").split("\n")[1:-1]:
                cells = line.split("\t")
                if len(cells) == 19:
                    turn = turns[cells[0]] = turns.get(cells[0], -1) + 1
                    texts[cells[0], turn] = cells[4]
    elif dataset == "reddit":
        for name in ("train", "valid", "test"):
            for line in (folder / f"{name}_raw.jsonl").read_bytes().split(b"\n"):
                row = orjson.loads(line) if line.endswith(b"}") else None
                if row is not None:
                    texts[row["dialog_id"], len(row["context"]) - 1] = row["resp"]
    elif dataset == "opendialkg":
        with (folder / "opendialkg.csv").open(encoding="utf-8", newline="") as file:
            for at, row in enumerate(csv.DictReader(file)):
                if row["Messages"].endswith("]"):
                    chat = [m["message"] for m in json.loads(row["Messages"]) if m["type"] == "chat"]
                    texts |= {(f"csv-{at + 2}", turn): text for turn, text in enumerate(chat)}
    elif dataset == "iard":
        for source_id, entry in orjson.loads((folder / "umap2020_IARD_Cai.json").read_bytes()).items():
            for said in entry["dialogue_info"].values():
                texts[source_id, said["utterance_pos"] - 1] = said["utterance_text"]
    return texts


@pytest.mark.parametrize("dataset", ["redial", "inspired", "reddit", "opendialkg", "iard"])
def test_mentions_stand_where_the_truth_says(dataset: str, pack: Path) -> None:
    texts = texts_by_turn(dataset, pack)
    mentions = truth(pack, "mentions", dataset)
    assert mentions.height > 30
    films = pl.read_parquet(pack / "truth/films.parquet")
    titles = dict(films.select("film", "title").iter_rows())
    numbers = dict(films.select("film", "imdb_number").iter_rows())
    for row in mentions.iter_rows(named=True):
        text = texts[row["source_id"], row["turn"]]
        assert text[row["start"] : row["end"]] == row["surface"]
        assert numbers[row["film"]] == row["imdb_number"]
        if row["variant"] == "exact":
            assert row["surface"] == titles[row["film"]]
        elif row["variant"] in ("lower", "upper"):
            assert row["surface"].lower() == titles[row["film"]].lower()
    operations = truth(pack, "operations", dataset)
    assert {(s, t) for s, t in operations.select("source_id", "turn").iter_rows()} == texts.keys()


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_reader_finds_what_the_truth_says(dataset: str, pack: Path, summary: PackSummary) -> None:
    read = read_dataset(dataset, pack, lambda _: None)
    known = truth(pack, "dialogues", dataset).sort("source_id")
    found = read.dialogues.sort("source_id")
    assert found["source_id"].to_list() == known["source_id"].to_list()
    assert found["turns"].to_list() == known["turns"].to_list()
    assert summary.dialogues[dataset] == known.height
    stated = known.join(found, on="source_id", suffix="_found").filter(pl.col("split").is_not_null())
    assert stated["split"].to_list() == stated["split_found"].to_list()
    rejects = json.loads((pack / "truth/conversation_rejects.json").read_text())
    assert rejects == summary.dialogue_rejects
    counted = {name: sum(both.values()) for name, both in rejects.items() if f"/{dataset}/" in name}
    assert dict(read.rejects.group_by("file").len().iter_rows()) == counted
    ids = read.dialogues.select("dialogue_id", "source_id")
    turns = read.turns.select("dialogue_id", "turn", "role", "text").join(ids, on="dialogue_id")
    operations = truth(pack, "operations", dataset).join(turns, on=["source_id", "turn"], suffix="_found")
    assert operations.height == read.turns.height
    assert operations["role"].to_list() == operations["role_found"].to_list()
    mentions = truth(pack, "mentions", dataset).join(turns, on=["source_id", "turn"], how="left")
    cut = mentions.select(pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")))["text"]
    assert cut.to_list() == mentions["surface"].to_list()


def test_numbers_and_shares(summary: PackSummary) -> None:
    expected = {"redial": DIALOGUES, **{name: round(DIALOGUES * share) for name, share in SHARES.items()}}
    assert summary.dialogues == expected
    assert [default_dialogues(movies) for movies in (1, 150, 1000, 337_731)] == [30, 30, 200, 10_000]


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_conversations_leave_the_catalogues_as_they_are(tmp_path: Path) -> None:
    write_pack(tmp_path / "without", movies=40, seed=2, dialogues=0)
    write_pack(tmp_path / "with", movies=40, seed=2)
    write_pack(tmp_path / "again", movies=40, seed=2)
    without, talk = digests(tmp_path / "without"), digests(tmp_path / "with")
    assert digests(tmp_path / "again") == talk
    assert not any(name.startswith("conversations/") for name in without)
    tables = {f"truth/{name}.parquet" for name in SCHEMAS} | {"truth/conversation_rejects.json"}
    assert {name: d for name, d in without.items() if name not in tables} == {
        name: d for name, d in talk.items() if name not in tables and not name.startswith("conversations/")
    }
    for name, schema in SCHEMAS.items():
        empty = truth(tmp_path / "without", name)
        assert empty.is_empty() and empty.schema == pl.Schema(schema)


@pytest.mark.parametrize("dialogues", [1, 2, 3, 8])
def test_one_film_and_hardly_a_dialogue(dialogues: int, tmp_path: Path) -> None:
    summary = write_pack(tmp_path / "p", movies=1, seed=dialogues, dialogues=dialogues)
    expected = {"redial": dialogues, **{name: round(dialogues * share) for name, share in SHARES.items()}}
    assert summary.dialogues == expected
    assert set(truth(tmp_path / "p", "mentions")["film"]) <= {0}


@pytest.mark.parametrize("dialogues", [-1, redial.DIALOGUES_MAX + 1])
def test_dialogues_out_of_range(dialogues: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dialogues must"):
        write_pack(tmp_path / "p", movies=2, dialogues=dialogues)


def test_redial_is_as_it_is_published(pack: Path) -> None:
    records = redial_records(pack)
    keys = "movieMentions respondentQuestions messages conversationId respondentWorkerId initiatorWorkerId initiatorQuestions"
    for record in records:
        assert list(record) == keys.split()
        workers = {record["initiatorWorkerId"], record["respondentWorkerId"]}
        assert {m["senderWorkerId"] for m in record["messages"]} <= workers  # type: ignore[attr-defined]
    test = truth(pack, "dialogues", "redial").filter(split="test")["source_id"].cast(pl.Int64)
    train = truth(pack, "dialogues", "redial").filter(split="train")["source_id"].cast(pl.Int64)
    assert test.is_between(20_000, 10**6).all() and train.is_between(1, 19_999).all() and len(test) > 5
    content = (pack / "conversations/redial/movies_with_mentions.csv").read_bytes()
    assert content.startswith(b"movieId,movieName,nbMentions\r\n") and content.endswith(b"\r\n")
    items = truth(pack, "dialogue_items", "redial")
    names = items["item_name"].drop_nulls()
    assert names.str.contains("  (", literal=True).sum() > 10 and names.str.ends_with(" ").sum() > 3
    assert items.filter(pl.col("item_name").str.starts_with("List of accolades"))["film"].null_count() == 1
    assert items["item_name"].null_count() == 1
    listed = list(csv.DictReader(content.decode().splitlines()))
    assert {row["movieId"] for row in listed} == set(items.filter(pl.col("item_name").is_not_null())["item_id"])
    said = " ".join(m["text"] for record in records for m in record["messages"])  # type: ignore[attr-defined]
    assert all(said.count(f"@{row['movieId']}") >= int(row["nbMentions"]) for row in listed)


def test_questionnaires_follow_the_conversation(pack: Path) -> None:
    records = redial_records(pack)
    sides = [record[side] for record in records for side in ("initiatorQuestions", "respondentQuestions")]
    assert [] in sides and {} not in sides
    answers = [answer for side in sides for answer in (side.values() if isinstance(side, dict) else ())]
    assert {a[q] for a in answers for q in ("seen", "liked")} == {0, 1, 2}
    both = [
        (record["initiatorQuestions"][item], record["respondentQuestions"][item])  # type: ignore[index]
        for record in records
        if record["initiatorQuestions"] and record["respondentQuestions"]
        for item in record["initiatorQuestions"]  # type: ignore[attr-defined]
    ]
    agreed = sum(one["suggested"] == other["suggested"] for one, other in both) / len(both)
    assert 0.8 < agreed < 1


def test_hostile_texts_are_there(pack: Path) -> None:
    texts = list(texts_by_turn("redial", pack).values())
    assert any("👩‍🚀" in text for text in texts)
    assert any("\x07\u2028" in text for text in texts)
    assert any("\ud83d" in text for text in texts)
    assert sum(len(text) > 2500 for text in texts) == 1
    records = redial_records(pack)
    explained = {i for record in records for i in record["movieMentions"]}  # type: ignore[attr-defined]
    placed = {word.strip("@?.,") for text in texts for word in text.split() if word.startswith("@")}
    assert any(item.isdigit() and item not in explained for item in placed)
    assert any(None in record["movieMentions"].values() for record in records)  # type: ignore[attr-defined]


def test_iard_labels_conversations_of_redial(pack: Path) -> None:
    everything = orjson.loads((pack / "conversations/iard/umap2020_IARD_Cai.json").read_bytes())
    known = set(truth(pack, "dialogues", "redial")["source_id"])
    good = {i: entry for i, entry in everything.items() if entry["dialogue_info"]}
    assert good.keys() <= known and len(everything) == len(good) + 1
    for entry in good.values():
        for key, said in entry["dialogue_info"].items():
            assert key == f"{'S' if said['role'] == SEEKER else 'R'}{said['utterance_pos']}"
            assert {iard.GROUPS[name] for name in said["sub-intent/action"]} == set(said["top-level intent/action"])
        by_place = {said["utterance_pos"]: said for said in entry["dialogue_info"].values()}
        assert all("ACC" in by_place[at]["sub-intent/action"] for at in entry["accepted_recommendation"])
    surfaces = truth(pack, "mentions", "iard").filter(kind="placeholder")["surface"]
    assert surfaces.str.contains(r"^@\d+ <.+>$").all()


def test_inspired_columns(pack: Path) -> None:
    lines = (pack / "conversations/inspired/dialog_data/train.tsv").read_text("utf-8").split("\n")
    assert lines[0].split("\t") == list(inspired.COLUMNS)
    rows = [dict(zip(inspired.COLUMNS, line.split("\t"), strict=True)) for line in lines[1:] if line.count("\t") == 18]
    strategies = {row["expert_label"] for row in rows if row["speaker"] == "RECOMMENDER"}
    assert strategies == {*STRATEGIES, "preference_confirmation"}
    assert {row["expert_label"] for row in rows if row["speaker"] == "SEEKER"} == {""}
    assert any("QUOTATION_MARK" in row["text"] for row in rows)
    found = [row for row in rows if row["movies"]]
    assert any("[MOVIE_TITLE_" in row["text_with_placeholder"] for row in found)
    assert all(row["movies"].split("; ")[0] in row["movie_dict"] or "'" in row["movies"] for row in found)


def test_opendialkg_walks_stand_before_what_the_assistant_says(pack: Path) -> None:
    with (pack / "conversations/opendialkg/opendialkg.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    messages_of = [json.loads(row["Messages"]) for row in rows if row["Messages"].endswith("]")]
    assert len(messages_of) == len(rows) - 1
    kinds = [[(m["type"], m["sender"]) for m in one] for one in messages_of]
    assert any(("action", "assistant") in one for one in kinds)
    for one in kinds:
        for here, behind in pairwise(one):
            assert here[0] == "chat" or behind == ("chat", "assistant")
    assert set(opendialkg.SENDERS.values()) == {"user", "assistant"}


def test_labels_are_those_of_the_codebook(pack: Path) -> None:
    operations = truth(pack, "operations")
    used = set(operations["operations"].explode().drop_nulls())
    assert used <= set(OPERATIONS)
    assert len(used) == len(OPERATIONS)
    assert set(operations["strategy"].drop_nulls()) == {*STRATEGIES, "preference_confirmation"}
    assert operations.filter(role=SEEKER)["strategy"].null_count() == operations.filter(role=SEEKER).height
    assert operations.filter(role=RECOMMENDER)["strategy"].null_count() == 0
    without = (operations["operations"].list.len() == 0).mean()
    assert isinstance(without, float) and 0.1 < without < 0.5


ALL_ACTS = [act for name in ("seeker", "recommender", "fashion") for act in acts(name).values()]


@pytest.mark.parametrize("act", ALL_ACTS, ids=lambda act: f"{act.role}: {act.name}")
def test_acts_are_complete(act: Act) -> None:
    assert set(act.operations) <= set(OPERATIONS)
    assert (act.strategy is None) == (act.role == SEEKER)
    assert act.strategy in {None, *STRATEGIES, "preference_confirmation"}
    assert set(act.intents) <= iard.GROUPS.keys()
    assert sum(map(wordings, act.templates)) >= 20
    filled = {"item", "plot", "year", "decade", "feature", "event", "garment", *FILM_SLOTS, *GENRE_SLOTS, *PERSON_SLOTS}
    for slot in set().union(*map(slots_of, act.templates)) - filled:
        assert len(words(slot)) > 5, slot
    names_films = bool(set().union(*map(slots_of, act.templates)) & FILM_SLOTS)
    if act.role == SEEKER:
        assert not names_films or "extract_entities" in act.operations


def test_every_genre_has_words() -> None:
    assert genre_words().keys() >= facts("genre_weights").keys()
    assert all(len(forms) == 3 for forms in genre_words().values())


@pytest.mark.parametrize("line", ["[a|b", "a]", "a|b", "[[a]"])
def test_templates_with_bad_brackets(line: str) -> None:
    with pytest.raises(ValueError, match="brackets"):
        parsed(line)


def test_wordings_of_a_template() -> None:
    template = parsed("[I|we] [am|'m] [|so ]glad [of [it|that]|]{film}!")
    assert wordings(template) == 2 * 2 * 2 * 3
    act = Act("a", SEEKER, (), None, (), (template,))
    seen = {tuple(wording(act, Random(seed))) for seed in range(400)}
    assert len(seen) == 24
    assert ("I'm so glad of it", Slot("film"), "!") in seen
    assert slots_of(template) == {"film"}


def chats(pool: FilmPool, count: int, seed: int = 0) -> list[Conversation]:
    random = Random(seed)
    return [conversation(random, pool, redial.MANNER) for _ in range(count)]


def test_what_is_accepted_follows_from_the_taste(pool: FilmPool) -> None:
    talks = chats(pool, 400)
    accepted = [(talk, talk.accepted) for talk in talks if talk.accepted is not None]
    assert 0.4 < len(accepted) / len(talks) < 0.95
    assert all(talk.liked[film] and talk.suggested[film] and not talk.seen[film] for talk, film in accepted)
    others = [(talk, film) for talk in talks for film, by in talk.suggested.items() if by and film != talk.accepted]

    def share_of_taste(pairs: list[tuple[Conversation, int]]) -> float:
        return sum(bool(set(talk.taste.genres) & set(pool.genres[film])) for talk, film in pairs) / len(pairs)

    assert share_of_taste([(talk, film) for talk, film in accepted]) > share_of_taste(others) + 0.15
    bad = sum(talk.taste.bad_genre in pool.genres[film] for talk, film in accepted) / len(accepted)
    assert bad < 0.1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), is_thread=st.booleans())
def test_any_conversation_hangs_together(seed: int, is_thread: bool) -> None:
    pool = FilmPool(make_world(60, 1))
    random = Random(seed)
    talk = thread(random, pool) if is_thread else conversation(random, pool, Manner((1, 6), (0, 3), 0.5, 0.5))
    assert talk.turns and all(turn.sentences for turn in talk.turns)
    roles = [turn.role for turn in talk.turns]
    assert all(here != behind for here, behind in pairwise(roles))
    known = Truth(pool)
    for turn, message in enumerate(messages(talk, pool, random, 0.5)):
        line = spelt(message.pieces, pool, random, message.writer)
        text = text_of(line)
        assert text.strip() and "{" not in text and "[" not in text.replace("[MOVIE", "")
        known.mentions("inspired", "x", turn, line)
        for row in known.rows["mentions"]:
            if row[2] == turn:
                assert text[row[3] : row[4]] == row[5]  # type: ignore[misc]
    named_films = {row[6] for row in known.rows["mentions"]}
    assert named_films <= talk.suggested.keys() | talk.seen.keys()


def test_names_are_spelt_in_many_ways_but_never_as_another_film(pool: FilmPool) -> None:
    random = Random(3)
    found: dict[str, int] = {}
    for film in [film for film in range(len(pool)) for _ in range(12)]:
        text, variant = named(pool, film, random, style(random))
        found[variant] = found.get(variant, 0) + 1
        assert text.strip() == text and text
        if text.lower() in pool.names:
            assert text.lower() == pool.lower[film]
    assert found.keys() == {"exact", "lower", "upper", "short", "typo", "alias", "unpunctuated"}
    assert found["exact"] > sum(found.values()) / 2 > found["typo"] * 5


def test_a_slip_changes_one_word() -> None:
    random = Random(0)
    slips = {slipped("The Night Train", random) for _ in range(200)}
    assert len(slips) > 10
    assert all(text.startswith("The ") for text in slips)
    assert slipped("Up", random) == "Up"


def test_words_of_a_sentence_keep_films_apart(pool: FilmPool) -> None:
    random = Random(1)
    talk = chats(pool, 1, seed=8)[0]
    sentence = next(s for turn in talk.turns for s in turn.sentences if "film" in s.values)
    found = pieces(sentence, pool, random, style(random))
    films = [piece for piece in found if piece.kind == "film"]
    assert all(piece.text == pool.title[piece.film] for piece in films)


def test_long_text_is_as_long_as_asked() -> None:
    assert 500 <= len(long_text(Random(0), 500)) < 600


def test_films_are_drawn_by_fame_genre_and_person(pool: FilmPool) -> None:
    random = Random(0)
    drawn = [pool.film(random, set()) for _ in range(3000)]
    fame = sum(pool.known[film] for film in drawn) / len(drawn)
    assert fame > sum(pool.known) / len(pool) + 0.1
    horror = [pool.film(random, set(), "Horror") for _ in range(200)]
    assert all("Horror" in pool.genres[film] for film in horror)
    person = pool.cast[horror[0]][0]
    with_person = [pool.film(random, set(), person=person) for _ in range(50)]
    assert all(person in pool.people(film) for film in with_person)
    used: set[int] = set()
    for _ in range(20):
        used.add(pool.film(random, used))
    assert len({pool.lower[film] for film in used}) >= 18
