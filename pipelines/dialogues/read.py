"""Reading one dialogue dataset: its files, which dialogue is kept where several files hold it, splits, and the books.

Belongs here: the order of the steps. Layouts are in layouts.py, what their records mean in the module of each dataset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.dialogues import iard, inspired, muse, opendialkg, per_turn, redial
from pipelines.dialogues.dialogue import Dialogue, Item
from pipelines.dialogues.layouts import Assigned, listed
from pipelines.dialogues.records import Books, Place
from pipelines.dialogues.repeats import same_words, share_words
from pipelines.dialogues.splits import decide_split, strictest
from pipelines.dialogues.tables import Resolved, dialogue_frames, item_frame
from pipelines.sources.files import SourceFile, fingerprints
from warehouse.tables.dialogues import DATASETS, META_DIALOGUE_FILES, SPLITS

# To be raised by whoever changes what reading gives.
READER_VERSION = "1"

REPEATED = "the same conversation stands in"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class DialoguesRead:
    """What one dataset holds; each frame conforms to its contract.

    `dialogues`: CORE_DIALOGUES. `turns`: CORE_TURNS. `labels`: CORE_TURN_LABELS. `hints`: CORE_MENTION_HINTS. `feedback`: CORE_FEEDBACK.
    `items`: CORE_DIALOGUE_ITEMS. `rejects`: RAW_DIALOGUE_REJECTS. `files`: META_DIALOGUE_FILES.
    """

    dialogues: pl.DataFrame
    turns: pl.DataFrame
    labels: pl.DataFrame
    hints: pl.DataFrame
    feedback: pl.DataFrame
    items: pl.DataFrame
    rejects: pl.DataFrame
    files: pl.DataFrame


def dataset_files(dataset: str, sources: Path, known: pl.DataFrame) -> pl.DataFrame:
    """Fingerprints of the files of `dataset` under `sources`: META_DIALOGUE_FILES up to reader_version; by file.

    A file whose size and time of change are those in `known` (META_DIALOGUE_FILES rows of an earlier time) is not hashed again. Raises
    FileNotFoundError when there is no such folder, ValueError for a dataset that is not known.
    """
    return _fingerprints(dataset, _listed(dataset, sources), known)


def read_dataset(dataset: str, sources: Path, tell: Tell) -> DialoguesRead:
    """Read all files of `dataset` under `sources`.

    Bad records and bad files never raise: they are rejects. Raises FileNotFoundError when there is no such folder, ValueError for a
    dataset that is not known.
    """
    everything = _listed(dataset, sources)
    own = [each for each in everything if each.layout.dataset == dataset]
    books = Books(dataset)
    files: dict[str, list[SourceFile]] = {}
    for each in own:
        tell(f"reading {each.file.name}")
        if each.problem is None:
            files.setdefault(each.layout.name, []).append(each.file)
        else:
            books.open(each.file)
            books.read(each.file.name)
            books.reject(Place(each.file.name, 1, ""), each.problem)
    items, dialogues = READERS[dataset](files, books)
    resolved = _resolved(dataset, dialogues, _held_out(dataset, everything), books)
    frames = dialogue_frames(dataset, resolved)
    return DialoguesRead(
        **frames,
        items=item_frame(dataset, items, resolved),
        rejects=books.reject_frame(),
        files=books.balance(_fingerprints(dataset, everything, META_DIALOGUE_FILES.empty())),
    )


# ------------------------------------------------------------------------------------------------------------ one dataset

_Files = Mapping[str, Sequence[SourceFile]]
_Read = tuple[dict[str, Item], Iterator[Dialogue]]


def _read_redial(files: _Files, books: Books) -> _Read:
    items = redial.read_items(files.get("redial_items", ()), books)
    names = per_turn.read_entities(files.get("redial_entities", ()), books)

    def dialogues() -> Iterator[Dialogue]:
        yield from redial.read_dialogues(files.get("redial", ()), books, items, True)
        yield from redial.read_dialogues(files.get("redial_ievalm", ()), books, items, False)
        yield from per_turn.read_dialogues(files.get("redial_per_turn", ()), books, names)

    return items, dialogues()


def _read_inspired(files: _Files, books: Books) -> _Read:
    surveys = inspired.read_surveys(files.get("inspired_surveys", ()), books)
    names = per_turn.read_entities(files.get("inspired_entities", ()), books)

    def dialogues() -> Iterator[Dialogue]:
        yield from inspired.read_dialogues(files.get("inspired", ()), books, surveys)
        yield from per_turn.read_dialogues(files.get("inspired_per_turn", ()), books, names)

    return {}, dialogues()


def _read_reddit(files: _Files, books: Books) -> _Read:
    names = per_turn.read_entities(files.get("reddit_entities", ()), books)
    return {}, per_turn.read_dialogues(files.get("reddit_per_turn", ()), books, names)


def _read_opendialkg(files: _Files, books: Books) -> _Read:
    items = opendialkg.read_items(files.get("opendialkg_items", ()), books)

    def dialogues() -> Iterator[Dialogue]:
        yield from opendialkg.read_dialogues(files.get("opendialkg", ()), books)
        yield from per_turn.read_ievalm(files.get("opendialkg_ievalm", ()), books)
        yield from opendialkg.read_books(files.get("opendialkg_books", ()), books)

    return items, dialogues()


def _read_muse(files: _Files, books: Books) -> _Read:
    items = muse.read_profiles(files.get("muse_profiles", ()), books)
    return items, muse.read_dialogues(files.get("muse", ()), books, items)


def _read_iard(files: _Files, books: Books) -> _Read:
    return {}, iard.read_dialogues(files.get("iard", ()), books)


READERS: dict[str, Callable[[_Files, Books], _Read]] = {
    "redial": _read_redial,
    "inspired": _read_inspired,
    "reddit": _read_reddit,
    "opendialkg": _read_opendialkg,
    "muse": _read_muse,
    "iard": _read_iard,
}


# ---------------------------------------------------------------------------------------------------------------- files


def _listed(dataset: str, sources: Path) -> list[Assigned]:
    if dataset not in DATASETS:
        raise ValueError(f"no dialogue dataset {dataset!r}; known: {', '.join(DATASETS)}")
    return listed(sources)


def _fingerprints(dataset: str, everything: Sequence[Assigned], known: pl.DataFrame) -> pl.DataFrame:
    own = known.filter(pl.col("dataset") == dataset)
    rows = own.select("file", "size_bytes", "mtime_ns", "sha256").iter_rows()
    before = {file: (size, mtime, digest) for file, size, mtime, digest in rows}
    mine = [each for each in everything if each.layout.dataset == dataset]
    found = fingerprints([each.file for each in mine], before)
    version = _reader_version(dataset, everything) if mine else READER_VERSION
    schema = {name: kind for name, kind in META_DIALOGUE_FILES.schema.items() if not name.startswith("rows_")}
    return pl.DataFrame(
        [(dataset, each.file.name, each.layout.name, *found[each.file.name], version) for each in mine],
        schema=schema,
        orient="row",
    ).sort("file")


def _holding_out(everything: Sequence[Assigned]) -> list[SourceFile]:
    """ReDial's own files of the conversations that are not for training."""
    own = [each for each in everything if each.layout.name == "redial" and each.problem is None]
    return [each.file for each in own if not each.file.name.rsplit("/", 1)[-1].startswith("train")]


def _held_out(dataset: str, everything: Sequence[Assigned]) -> dict[str, str]:
    """For IARD, whose conversations are ReDial's: those that ReDial's files put into valid or test, by source id."""
    held_out: dict[str, str] = {}
    if dataset == "iard":
        for dialogue in redial.read_dialogues(_holding_out(everything), Books("redial"), {}, True):
            split = strictest((*dialogue.stated, held_out.get(dialogue.source_id, "train")))
            held_out[dialogue.source_id] = split or "train"
    return held_out


def _reader_version(dataset: str, everything: Sequence[Assigned]) -> str:
    """The version, and for IARD what ReDial's files hold out: when that changes, IARD is read again."""
    if dataset != "iard":
        return READER_VERSION
    digests = sorted(digest for _, _, digest in fingerprints(_holding_out(everything), {}).values())
    return (
        f"{READER_VERSION}+{hashlib.sha256(' '.join(digests).encode()).hexdigest()[:12]}" if digests else READER_VERSION
    )


# ------------------------------------------------------------------------------------------------------------- dialogues


def _resolved(dataset: str, dialogues: Iterator[Dialogue], held_out: Mapping[str, str], books: Books) -> list[Resolved]:
    """The dialogues that are kept, each once, with their splits. The others are entered as rejects."""
    found: list[Dialogue] = []
    for dialogue in dialogues:
        if dialogue.turns:
            found.append(dialogue)
        else:
            _reject(dialogue, "no turn in it", books)
    repeated = same_words(found)
    kept: dict[str, Dialogue] = {}
    stated: dict[str, list[str]] = {}
    official: dict[str, list[str]] = {}
    # Those that are repeated before those that repeat them.
    for position in sorted(range(len(found)), key=lambda position: position in repeated):
        dialogue = found[position]
        first = found[repeated[position]] if position in repeated else kept.setdefault(dialogue.source_id, dialogue)
        if first is not dialogue:
            place = first.places[0]
            same = position in repeated or share_words(first, dialogue)
            reason = REPEATED if same else "another conversation of this id stands in"
            _reject(dialogue, f"{reason} {place.file} line {place.line}", books)
            if not same:
                continue
        stated.setdefault(first.source_id, []).extend(dialogue.stated)
        if dialogue.is_split_official:
            official.setdefault(first.source_id, []).extend(dialogue.stated)
    resolved = []
    for source_id, dialogue in kept.items():
        for place in dialogue.places:
            books.keep(place)
        dialogue_id = f"{dataset}-{source_id}"
        conversation_id = dialogue.conversation_id or dialogue_id
        split = decide_split(dataset, source_id, conversation_id, official.get(source_id, ()), held_out)
        splits_stated = tuple(split for split in SPLITS if split in stated.get(source_id, ()))
        resolved.append(Resolved(dialogue, dialogue_id, conversation_id, split, splits_stated))
    return resolved


def _reject(dialogue: Dialogue, reason: str, books: Books) -> None:
    for place in dialogue.places:
        books.reject(place, reason)
