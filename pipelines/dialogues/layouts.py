"""The layouts of dialogue files, as data, and which file is in which layout.

A file is taken by its name and by the keys that stand at its beginning, because people unpack datasets into folders of their own. Adding a
layout is a row here and a reader. Does not belong here: how records are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.sources.files import ByteStream, Limits, SourceFile, list_folder, match_files

_HEAD_BYTES = 2 << 20


@dataclass(frozen=True)
class Layout:
    """One layout.

    `files`: patterns of names that tell what the file is: one whose content does not fit is a reject. `files_if_fitting`: names that files of other
    origin have, too: those are passed over. `needs` and `lacks`: keys (or columns) that the beginning of the file has and has not. `folder`: the
    folder nearest to the file that names a dataset must name this one. `beside`: only in folders that hold a file of that layout.
    `is_dialogues`: False for tables of names and surveys. `states_split`: what says the split. `licence`: of the data, as far as stated.
    """

    name: str
    dataset: str
    files: tuple[str, ...] = ()
    files_if_fitting: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    folder: str = ""
    beside: str = ""
    is_dialogues: bool = True
    states_split: str = ""
    licence: str = "none stated"
    homepage: str = ""


_PER_TURN = ("context", "resp", "rec", "dialog_id", "is_user")
_HE = "https://github.com/AaronHeee/LLMs-as-Zero-Shot-Conversational-RecSys"
_IEVALM = "https://github.com/RUCAIBox/iEvaLM-CRS"
_REDIAL = "https://redialdata.github.io/website/"
_INSPIRED = "https://github.com/sweetpeach/Inspired"
_OPENDIALKG = "https://github.com/facebookresearch/opendialkg"


def _he_layouts(dataset: str, licence: str) -> tuple[Layout, Layout]:
    dialogues = Layout(
        f"{dataset}_per_turn",
        dataset,
        files=tuple(f"**/{word}_raw.jsonl" for word in ("train", "valid", "test")),
        files_if_fitting=tuple(f"**/{word}.jsonl" for word in ("train", "valid", "test")),
        needs=_PER_TURN,
        # He et al.'s test.jsonl holds a part of test_raw.jsonl again, with the text of a prompt.
        lacks=("input",),
        folder=dataset,
        states_split="name of the file",
        licence=licence,
        homepage=_HE,
    )
    entities = Layout(
        f"{dataset}_entities",
        dataset,
        files=("**/entity2id.json",),
        beside=dialogues.name,
        is_dialogues=False,
        licence=licence,
        homepage=_HE,
    )
    return dialogues, entities


# Of a conversation that stands in two files the first layout's is kept.
LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "redial",
        "redial",
        files=("**/train_data.jsonl", "**/valid_data.jsonl", "**/test_data.jsonl"),
        needs=("conversationId", "messages", "senderWorkerId"),
        lacks=("masked_text",),
        states_split="name of the file; from conversation 20,000 on test",
        licence="CC BY 4.0",
        homepage=_REDIAL,
    ),
    Layout(
        "redial_ievalm",
        "redial",
        files=("**/train_data.jsonl", "**/valid_data.jsonl", "**/test_data.jsonl"),
        needs=("conversationId", "messages", "senderWorkerId", "masked_text"),
        states_split="name of the file, recorded only: it is a split of iEvaLM's own",
        licence="CC BY 4.0; MIT",
        homepage=_IEVALM,
    ),
    Layout(
        "redial_items",
        "redial",
        files=("**/movies_with_mentions.csv",),
        needs=("movieId", "movieName"),
        is_dialogues=False,
        licence="CC BY 4.0",
        homepage=_REDIAL,
    ),
    *_he_layouts("redial", "CC BY 4.0"),
    Layout(
        "inspired",
        "inspired",
        files=tuple(f"**/dialog_data/{word}.tsv" for word in ("train", "dev", "test")),
        files_if_fitting=tuple(f"**/{word}.tsv" for word in ("train", "dev", "test")),
        needs=("dialog_id", "utt_id", "speaker", "text"),
        states_split="name of the file (dev is valid)",
        homepage=_INSPIRED,
    ),
    Layout(
        "inspired_surveys",
        "inspired",
        files=tuple(f"**/survey_data/{word}_*.tsv" for word in ("list_of_dialog_ids", "seeker", "rec")),
        is_dialogues=False,
        homepage=_INSPIRED,
    ),
    *_he_layouts("inspired", "none stated"),
    *_he_layouts("reddit", "none stated"),
    Layout(
        "opendialkg",
        "opendialkg",
        files=("**/opendialkg.csv",),
        needs=("Messages",),
        licence="CC BY-NC 4.0",
        homepage=_OPENDIALKG,
    ),
    Layout(
        "opendialkg_ievalm",
        "opendialkg",
        files=tuple(f"**/opendialkg*/**/{word}_data_processed.jsonl" for word in ("train", "valid", "test")),
        files_if_fitting=tuple(f"**/{word}_data_processed.jsonl" for word in ("train", "valid", "test")),
        needs=("context", "resp", "rec", "dialog_id", "turn_id"),
        lacks=("is_user",),
        states_split="name of the file, unless several state one",
        licence="CC BY-NC 4.0; MIT",
        homepage=_IEVALM,
    ),
    Layout(
        "opendialkg_books",
        "opendialkg",
        files=("**/dialog_Books.jsonl",),
        needs=("role", "text"),
        licence="CC BY-NC 4.0; MIT",
        homepage=_IEVALM,
    ),
    Layout(
        "opendialkg_items",
        "opendialkg",
        files=("**/opendialkg/id2info.json",),
        is_dialogues=False,
        licence="CC BY-NC 4.0; MIT",
        homepage=_IEVALM,
    ),
    Layout(
        "muse",
        "muse",
        files=("**/detail_convs/*.json",),
        files_if_fitting=("**/conv_*.json",),
        needs=("Conversations",),
        homepage="https://github.com/czt6666/muse",
    ),
    Layout(
        "muse_profiles",
        "muse",
        files_if_fitting=("**/user_profiles.json",),
        needs=("target_item",),
        is_dialogues=False,
        homepage="https://github.com/czt6666/muse",
    ),
    Layout(
        "iard",
        "iard",
        files=("**/umap2020_IARD*.json",),
        needs=("dialogue_info",),
        states_split="ReDial's",
        licence="CC BY 4.0; MIT, share alike",
        homepage="https://github.com/wanlingcai1997/umap_2020_IARD",
    ),
)

_FOLDER_WORDS = tuple(sorted({layout.folder for layout in LAYOUTS if layout.folder}))


@dataclass(frozen=True)
class Assigned:
    """A file and its layout; `problem` says why it cannot be read as that, although its name says so."""

    layout: Layout
    file: SourceFile
    problem: str | None = None


def assign(listing: Sequence[SourceFile]) -> list[Assigned]:
    """The dialogue files of `listing`, each in exactly one layout; by order of the layouts, then by name."""
    candidates: dict[SourceFile, list[tuple[Layout, bool]]] = {}
    for layout in LAYOUTS:
        if layout.beside:
            continue
        tells = set(match_files(layout.files, listing)) if layout.files else set()
        for file in match_files((*layout.files, *layout.files_if_fitting), listing):
            if not layout.folder or _named_folder(file.name) == layout.folder:
                candidates.setdefault(file, []).append((layout, file in tells))
    found = [chosen for file, layouts in candidates.items() if (chosen := _choice(file, layouts)) is not None]
    folders = {(each.layout.name, _folder(each.file.name)) for each in found}
    for layout in LAYOUTS:
        if layout.beside:
            files = match_files(layout.files, listing)
            found += [Assigned(layout, file) for file in files if (layout.beside, _folder(file.name)) in folders]
    return sorted(found, key=lambda each: (LAYOUTS.index(each.layout), each.file.name))


def _choice(file: SourceFile, layouts: Sequence[tuple[Layout, bool]]) -> Assigned | None:
    """The layout of a file by its beginning; None for a file of other origin."""
    head = _head(file)
    telling = [layout for layout, tells in layouts if tells]
    if not head.strip():
        return Assigned(telling[0], file) if telling else None
    for layout, _ in layouts:
        if _fits(layout, head):
            return Assigned(layout, file)
    if not telling:
        return None
    missing = [key for key in telling[0].needs if not _has(head, key)]
    present = [key for key in telling[0].lacks if _has(head, key)]
    words = f"without {', '.join(missing)}" if missing else f"with {', '.join(present)}"
    return Assigned(telling[0], file, f"not a layout that is known under this name: {words}")


def _fits(layout: Layout, head: str) -> bool:
    return all(_has(head, key) for key in layout.needs) and not any(_has(head, key) for key in layout.lacks)


def _has(head: str, key: str) -> bool:
    """Whether `key` stands in the head as a JSON key or as a column of the first line."""
    return re.search(rf'(?<!\\)"{re.escape(key)}"\s*:', head) is not None or key in _columns(head)


def _columns(head: str) -> frozenset[str]:
    first = head[:20_000].lstrip().split("\n", 1)[0]
    return frozenset(cell.strip().strip('"') for cell in re.split(r"[\t,]", first))


def _head(file: SourceFile) -> str:
    """The first two megabytes of the text; empty where there is nothing, or nothing that can be read."""
    pieces: list[bytes] = []
    for block in ByteStream(file, Limits()):
        pieces.append(block)
        if sum(map(len, pieces)) >= _HEAD_BYTES:
            break
    data = b"".join(pieces)[:_HEAD_BYTES]
    return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", "replace")


def _named_folder(name: str) -> str | None:
    """The dataset that the folder nearest to the file names."""
    for part in reversed(name.lower().split("/")[:-1]):
        for word in _FOLDER_WORDS:
            if word in part:
                return word
    return None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def listed(sources: Path) -> list[Assigned]:
    """`assign` on what is in the folder `sources`. Raises FileNotFoundError when there is no such folder."""
    return assign(list_folder(sources))
