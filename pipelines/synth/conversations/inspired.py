"""INSPIRED as it is published: an utterance a row, 19 columns, tab separated without quoting, and surveys.

Belongs here: INSPIRED's columns, the authors' matches with their errors, surveys. Does not belong here: what is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from pipelines.synth.conversations.course import Conversation, Manner, conversation
from pipelines.synth.conversations.damage import File
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import RECOMMENDER, one
from pipelines.synth.conversations.script import messages
from pipelines.synth.conversations.spelling import Piece, spelt, text_of
from pipelines.synth.conversations.truth import Truth

DATASET = "inspired"
MANNER = Manner((4, 8), (2, 4), 0.5, 0.5, greets=1.0)
CUT_SHARE = 0.75
SPLITS = (("train", 0.8), ("dev", 0.1), ("test", 0.1))
COLUMNS = (
    "dialog_id",
    "utt_id",
    "speaker",
    "turn_id",
    "text",
    "text_with_placeholder",
    "movies",
    "genres",
    "people_names",
    "movie_dict",
    "genre_dict",
    "actor_dict",
    "director_dict",
    "others_dict",
    "expert_label",
    "second_label",
    "fine_label",
    "coarse_label",
    "movie_id",
)
# Files with fewer dialogues have no damage.
SMALL_FILE = 3
# What the authors' matching of titles missed, and where it found a film that nobody named.
MISSED_SHARE, FALSE_SHARE = 0.08, 0.012
QUOTE = "QUOTATION_MARK"
PERCEPTIONS = (
    "competent",
    "confident",
    "efficient",
    "knowledgeable",
    "warm",
    "agreable",
    "trustworthy",
    "sincere",
    "engaging",
    "persuasive",
    "natural",
    "rich_vocab",
    "creative",
    "pressure_me",
    "manipulative",
    "boring",
)
TRAITS = (
    "Extrovert",
    "Agreeable",
    "Conscientious",
    "Neurotic",
    "Open",
    "Conformity",
    "Tradition",
    "Benevolence",
    "Universalism",
    "Self-Direction",
    "Stimulation",
    "Hedonism",
    "Achievement",
    "Power",
    "Security",
    "Rational",
    "Feeling",
)
LIKERT = ("Strongly disagree", "Disagree", "Neither agree nor disagree", "Agree", "Strongly agree")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@dataclass
class _Seen:
    """What the columns `*_dict` count: names of a dialogue in the order in which they came up."""

    movies: dict[str, int] = field(default_factory=dict)
    genres: dict[str, int] = field(default_factory=dict)
    actors: dict[str, int] = field(default_factory=dict)
    directors: dict[str, int] = field(default_factory=dict)


def write(count: int, pool: FilmPool, random: Random, truth: Truth) -> list[File]:
    """`count` dialogues as INSPIRED's files."""
    directors = {name for names in pool.directors for name in names}
    lines: dict[str, list[list[str]]] = {name: [] for name, _ in SPLITS}
    counts = dict.fromkeys(lines, 0)
    index, surveys = [], []
    for at in range(count):
        split = _split(at, count)
        talk = conversation(random, pool, MANNER)
        source_id = (
            f"20{19 + at % 2}{1 + at % 12:02d}{1 + at // 12 % 28:02d}-{at:06d}_{int(random.random() * 999)}_live.pkl"
        )
        fine, coarse = _outcome(talk, random)
        movie_id = "".join(one(random, LETTERS) for _ in range(11))
        rows = _rows(talk, source_id, (fine, coarse, movie_id), directors, pool, random, truth)
        lines[split] += rows
        counts[split] += 1
        truth.dialogue(DATASET, source_id, "valid" if split == "dev" else split, len(rows), talk)
        index.append([source_id, f"batch_{at}", f"batch_{at}", fine, coarse, movie_id])
        mood = 3 if talk.accepted is not None else 2
        answers = [LIKERT[max(0, min(4, mood + int(random.gauss(0, 0.9))))] for _ in PERCEPTIONS]
        surveys.append([f"batch_{at}", "SEEKER", f"user_{2 * at + 1}", fine, *answers, f"user_{2 * at}"])
    files: list[File] = []
    for split, rows in lines.items():
        broken = 0
        text = ["\t".join(COLUMNS), *("\t".join(row) for row in rows)]
        if split == "train" and counts[split] > SMALL_FILE:
            # Remains of a row, behind the last one and between two dialogues.
            text.append("\t".join(rows[-1][:7]))
            border = next(at for at in range(1, len(rows)) if rows[at][0] != rows[at - 1][0])
            text.insert(border + 1, "\t".join([*rows[border - 1], "one", "too many"]))
            broken = 2
        files.append(File(f"inspired/dialog_data/{split}.tsv", _tsv(text), counts[split], broken))
    header = ["dialog_id", "rec_survey_id", "seek_survey_id", "fine_label", "coarse_label", "movie_id"]
    folder = "inspired/survey_data"
    files.append(File(f"{folder}/list_of_dialog_ids_with_movie_id_all.tsv", _tsv(_joined([header, *index]))))
    header = ["seeker_survey_id", "role", "seeker_id", "case", *PERCEPTIONS, "recommender_id"]
    files.append(File(f"{folder}/seeker_partner_perception.tsv", _tsv(_joined([header, *surveys]))))
    people = [[f"user_{2 * at}", *(str(1 + int(random.random() * 6)) for _ in TRAITS)] for at in range(count)]
    files.append(File(f"{folder}/rec_personality.tsv", _tsv(_joined([["User_ID", *TRAITS], *people]))))
    return files


def _split(at: int, count: int) -> str:
    """The first dialogues are for training, the last for testing; each part has one where there are three."""
    part = max(1, round(count * SPLITS[1][1]))
    return "test" if at >= count - part and count > 1 else "dev" if at >= count - 2 * part and count > 2 else "train"


def _outcome(talk: Conversation, random: Random) -> tuple[str, str]:
    if talk.accepted is not None:
        return one(
            random, ("accept_rating_good", "accept_rating_good", "accept_others", "accept_rating_mod")
        ), "accept_new"
    return one(random, ("accept_uninterested", "accept_uninterested", "reject")), "reject_new"


def _rows(
    talk: Conversation,
    source_id: str,
    labels: tuple[str, str, str],
    directors: set[str],
    pool: FilmPool,
    random: Random,
    truth: Truth,
) -> list[list[str]]:
    seen, rows = _Seen(), []
    exchange, speaker = 0, ""
    for turn, message in enumerate(messages(talk, pool, random, CUT_SHARE)):
        line = [
            Piece(piece.text.replace('"', QUOTE)) if piece.kind == "" and '"' in piece.text else piece
            for piece in spelt(message.pieces, pool, random, message.writer)
        ]
        truth.turn(DATASET, source_id, turn, message.role, message.operations, message.strategy)
        truth.mentions(DATASET, source_id, turn, line)
        if turn == 0 or (message.role != speaker and message.role == RECOMMENDER):
            exchange += 1
        speaker = message.role
        masked, movies, genres, people = _matched(line, seen, directors, pool, random)
        second = [name for name in message.strategies if name != message.strategy]
        rows.append(
            [
                *(source_id, str(turn + 1), message.role.upper(), str(exchange), text_of(line), masked),
                *("; ".join(movies), "; ".join(genres), "; ".join(people)),
                *(message.strategy or "", second[-1] if second and random.random() < 0.03 else ""),
            ]
        )
    # The columns `*_dict` hold the whole dialogue's names in each of its rows.
    counted = [repr(seen.movies), repr(seen.genres), repr(seen.actors), repr(seen.directors), ""]
    return [[*row[:9], *counted, *row[9:], *labels] for row in rows]


def _matched(
    line: list[Piece], seen: _Seen, directors: set[str], pool: FilmPool, random: Random
) -> tuple[str, list[str], list[str], list[str]]:
    """The text with the authors' placeholders, and the films, genres and people that they found in it."""
    masked: list[str] = []
    movies: list[str] = []
    genres: list[str] = []
    people: list[str] = []
    for piece in line:
        text = piece.text
        if piece.kind == "film" and random.random() >= MISSED_SHARE:
            name = f"{pool.title[piece.film]} ({pool.year[piece.film]})" if random.random() > 0.01 else "Office ()"
            movies.append(name)
            text = f"[MOVIE_TITLE_{seen.movies.setdefault(name, len(seen.movies))}]"
        elif piece.kind == "genre":
            genres.append(piece.ref.lower())
            text = f"[MOVIE_GENRE_{seen.genres.setdefault(genres[-1], len(seen.genres))}]"
        elif piece.kind == "person":
            people.append(piece.ref)
            found, kind = (seen.directors, "DIRECTOR") if piece.ref in directors else (seen.actors, "ACTOR")
            text = f"[MOVIE_P_{kind}_{found.setdefault(piece.ref, len(found))}]"
        masked.append(text.replace(QUOTE, '"'))
    if random.random() < FALSE_SHARE:
        film = pool.film(random, set())
        name = f"{pool.title[film]} ({pool.year[film]})"
        seen.movies.setdefault(name, len(seen.movies))
        movies.append(name)
    return "".join(masked), list(dict.fromkeys(movies)), list(dict.fromkeys(genres)), list(dict.fromkeys(people))


def _joined(rows: list[list[str]]) -> list[str]:
    return ["\t".join(row) for row in rows]


def _tsv(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
