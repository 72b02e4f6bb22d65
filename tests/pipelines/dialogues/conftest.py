"""Small invented datasets in the layouts that are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[[str, Any], Path]
Record = dict[str, Any]


def redial_record(number: int | str, texts: list[str] | None = None, **changes: Any) -> Record:
    """A ReDial conversation of worker 1 (seeker) and worker 2."""
    texts = texts or [f"hello from {number}", "how about @11 ?", "saw it, and @12 too", "bye"]
    return {
        "movieMentions": {"11": "Glass Harbour  (1999)", "12": "%22Tin%22 Drummers (2004)"},
        "respondentQuestions": {"11": {"suggested": 1, "seen": 0, "liked": 2}},
        "initiatorQuestions": {"11": {"suggested": 1, "seen": 1, "liked": 0}},
        "messages": [
            {"timeOffset": 5 * at, "text": text, "senderWorkerId": 1 + at % 2, "messageId": 900 + at}
            for at, text in enumerate(texts)
        ],
        "conversationId": str(number),
        "respondentWorkerId": 2,
        "initiatorWorkerId": 1,
        **changes,
    }


def lines(*records: Any) -> str:
    """JSON lines; a str stands for itself."""
    return "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records)


def table(rows: list[Record], delimiter: str = "\t") -> str:
    """A delimited file; without quotes where tabs delimit."""
    if delimiter == "\t":
        return "".join("\t".join(map(str, row)) + "\n" for row in (rows[0], *(row.values() for row in rows)))
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def inspired_row(dialogue: str, number: int, text: str, **changes: Any) -> Record:
    return {
        "dialog_id": dialogue,
        "utt_id": number,
        "speaker": "RECOMMENDER" if number % 2 else "SEEKER",
        "turn_id": (number + 1) // 2,
        "text": text,
        "text_with_placeholder": text,
        "movies": "",
        "genres": "",
        "people_names": "",
        "movie_dict": "{'Glass Harbour (1999)': 0}",
        "genre_dict": "{}",
        "actor_dict": "{}",
        "director_dict": "{}",
        "others_dict": "",
        "expert_label": "offer_help" if number % 2 else "",
        "second_label": "",
        "fine_label": "accept_rating_good",
        "coarse_label": "accept_new",
        "movie_id": "abcDEF",
        **changes,
    }


def per_turn_rows(dialogue: str, texts: list[str], first_is_user: bool = True, **changes: Any) -> list[Record]:
    """Lines of He et al.'s layout, one for each turn."""
    return [
        {
            "context": ["", *texts[:at]],
            "resp": text,
            "rec": [],
            "entity": [],
            "entity_name": [],
            "prev_entity": [],
            "dialog_id": dialogue,
            "turn_id": f"{dialogue}_{at}",
            "is_user": int((at % 2 == 0) == first_is_user),
            **changes,
        }
        for at, text in enumerate(texts)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file under the sources folder: a str as it is, anything else as JSON. Returns the sources folder."""

    def put(name: str, content: Any) -> Path:
        path = tmp_path / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else None
        text = content if isinstance(content, str) else "" if data is not None else json.dumps(content)
        path.write_bytes(text.encode("utf-8", "surrogatepass") if data is None else data)
        return tmp_path / "sources"

    return put


@pytest.fixture
def datasets(write: Write) -> Path:
    """A sources folder that holds all layouts."""
    write("a/redial/train_data.jsonl", lines(redial_record(5), redial_record(6)))
    write("a/redial/test_data.jsonl", lines(redial_record(20001)))
    write("b/valid_data.jsonl", lines(redial_record(7)))
    ievalm = redial_record(6)
    for at, message in enumerate(ievalm["messages"]):
        del message["timeOffset"], message["messageId"]
        message |= {"turn_id": at, "entity": [], "item": ["Glass Harbour (1999)"], "thread": [], "masked_text": "?"}
    write("c/ievalm/valid_data.jsonl", lines(ievalm, {**ievalm, "conversationId": "8"}))
    write(
        "a/redial/movies_with_mentions.csv",
        "movieId,movieName,nbMentions\n11,Glass Harbour  (1999),3\n13,Ox (2011),1\n",
    )

    rows = [
        inspired_row("d1.pkl", 1, "Hi there"),
        inspired_row("d1.pkl", 2, "I loved glass harbour", movies="Glass Harbour (1999); Absent Film (2001)"),
        inspired_row("d1.pkl", 3, "QUOTATION_MARKYesQUOTATION_MARK", second_label="similarity"),
    ]
    write("insp/dialog_data/dev.tsv", table(rows))
    rejected = [inspired_row("d2.pkl", at, f"words {at}", fine_label="reject") for at in (1, 2)]
    write("insp/dialog_data/train.tsv", table(rejected))
    surveys = [{"dialog_id": "d1.pkl", "rec_survey_id": "r1", "seek_survey_id": "s1", "fine_label": "", "movie_id": ""}]
    write("insp/survey_data/list_of_dialog_ids_with_movie_id_all.tsv", table(surveys))
    answers = {"seeker_survey_id": "s1", "role": "SEEKER", "seeker_id": "user_1", "case": "x", "warm": "Agree"}
    answers |= {"boring": "Strongly disagree", "creative": "Probably yes", "recommender_id": "user_0"}
    write("insp/survey_data/seeker_partner_perception.tsv", table([answers]))
    write("insp/survey_data/rec_personality.tsv", table([{"User_ID": "user_0", "Open": "3.5", "Power": "6"}]))

    film = "<http://dbpedia.org/resource/Glass_Harbour_(1999_film)>"
    write("x/inspired/he/entity2id.json", {film: 4})
    turns = per_turn_rows("test_0", ["Hello", "Seen Glass Harbour?", "No"], first_is_user=False)
    turns[1] |= {"rec": [4, 77], "entity": [4, 9], "entity_name": ["Glass Harbour", "seen"]}
    write("x/inspired/he/test_raw.jsonl", lines(*turns))
    write("x/inspired/he/test.jsonl", lines({**turns[1], "input": "System: Hello"}))
    write("x/reddit/train_raw.jsonl", lines(*per_turn_rows("train_0", ["Any good heist film?", "Try glass harbour"])))
    write("x/reddit/valid_raw.jsonl", lines(*per_turn_rows("valid_0", ["Something short?", "No idea", "Pity"])))

    messages = [
        {"type": "chat", "sender": "user", "message": "Anything by Ada Quill?"},
        {
            "type": "action",
            "sender": "assistant",
            "action_id": "step",
            "metadata": {"path": [1.0, [["Glass Harbour", "directed_by", "Ada Quill"]], "words"]},
        },
        {"type": "chat", "sender": "assistant", "message": "She made Glass Harbour."},
    ]
    ratings = {"Messages": json.dumps(messages), "User Rating": "5", "Assistant Rating": ""}
    write("kg/opendialkg.csv", table([ratings, {**ratings, "User Rating": "NaN"}], ","))
    evaluation = {"dialog_id": 3, "turn_id": 1, "context": ["Like Ox?"], "resp": "Ox is good. Watch Tin Drummers!"}
    evaluation |= {"entity": ["Ox"], "rec": ["Tin Drummers"]}
    later = {**evaluation, "turn_id": 3, "context": ["Like Ox?", evaluation["resp"], "Ok"], "resp": "Enjoy", "rec": []}
    write("kg/opendialkg_eval/train_data_processed.jsonl", lines(evaluation))
    write(
        "kg/opendialkg_eval/valid_data_processed.jsonl",
        lines(later, {**evaluation, "dialog_id": 4, "resp": "Tin Drummers"}),
    )
    book = [{"role": "user", "text": "Books like Ox?", "entity": ["Ox"], "text_template": "?", "item": ["Ox"]}]
    book.append({"role": "assistant", "text": "Read on", "entity": [], "text_template": "", "item": []})
    write("kg/dialog_Books.jsonl", lines(book))
    write("kg/opendialkg/id2info.json", {"0": {"name": "Ox", "year": "2011"}, "1": {"name": "Tin Drummers"}})

    said = [
        {"Assistant": "Hi", "Action": "chit-chat", "Mentioned_item": [], "Image": []},
        {"User": "Shoes please", "Action": "chit-chat", "Mentioned_item": [], "Image": []},
        {"Assistant": "These", "Action": "recommend", "Mentioned_item": [2, 9], "Image": ["images_main/2"]},
    ]
    dialogue = {
        "Persona": "Ann",
        "Scenario": "A party",
        "Target_item": 2,
        "Mentioned_items": [2],
        "Conversations": said,
    }
    write("m/detail_convs/conv_1.json", dialogue)
    write("m/user_profiles.json", [{"profile": "Ann", "target_item": {"item_id": 2, "title": "Red Sandal"}}])

    utterances = {
        "S1": _utterance(1, "seeker", "Find me a film", ["AskForRec"]),
        "R2": _utterance(2, "recommender", "Try @11 <Glass Harbour  (1999)>, ok?", ["Recommend", "OTH"]),
    }
    iard = {number: {"accepted_recommendation": [2], "dialogue_info": utterances} for number in ("5", "7", "20001")}
    write("i/umap2020_IARD_Cai.json", iard)
    return write("unrelated/train.tsv", "a\tb\n1\t2\n")


def _utterance(position: int, role: str, text: str, intents: list[str]) -> Record:
    return {
        "utterance_pos": position,
        "worker_id": position,
        "role": role,
        "utterance_text": text,
        "top-level intent/action": intents,
        "sub-intent/action": ["X"],
    }
