"""Finding names in texts."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.mentions.gazetteer import Gazetteer, build_gazetteer, names_of, with_any_spacing
from pipelines.mentions.scan import HITS, scan
from pipelines.mentions.tokens import keyed

LONG = "The Slow and Very Quiet Unmaking of Mister Harold Pym, Who Kept Eleven Green Clocks Inside a Boat"
TITLES = [
    "The Copper Lantern", "Copper Lantern", "Eve", "Skylark", "Help", "It", "Get Out Now", "Kestrel: Night of the Heron",
    "A.I. Dreams", "Rivermen II", "Die Laut", "Amélie Ponte", "1917 Winter", "Together", "The Good One", LONG,
]  # fmt: skip


def gazetteer_of(titles: list[str], people: list[str] | None = None) -> Gazetteer:
    films = pl.DataFrame(
        {"movie_id": [f"m{k:02}" for k in range(len(titles))], "title": titles},
        schema={"movie_id": pl.String, "title": pl.String},
    ).with_columns(
        original_title=pl.lit(None, dtype=pl.String),
        aliases=pl.lit([], dtype=pl.List(pl.String)),
        year=pl.lit(2000, dtype=pl.Int32),
        kind=pl.lit("movie"),
        genres=pl.lit([], dtype=pl.List(pl.String)),
        directors=pl.lit(people or [], dtype=pl.List(pl.String)),
        cast_members=pl.lit([], dtype=pl.List(pl.String)),
        votes=pl.lit(1, dtype=pl.Int64),
        source_count=pl.lit(1, dtype=pl.Int32),
    )
    return build_gazetteer(films, names_of(films))


GAZETTEER = gazetteer_of(TITLES, ["Nadia Skylark Brun", "Will Eve"])


def silent(_: str) -> None: ...


def texts_of(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"row": range(len(texts)), "text": texts}, schema={"row": pl.Int64, "text": pl.String})


def found(text: str, kind: str = "film") -> list[str]:
    hits = scan(texts_of([text]), GAZETTEER, silent)
    assert hits.schema == HITS
    for start, end, surface in hits.select("start", "end", "surface").iter_rows():
        assert text[start:end] == surface
    return hits.filter(kind=kind)["surface"].to_list()


@pytest.mark.parametrize(
    ("text", "surfaces"),
    [
        ("i watched the copper lantern last night", ["the copper lantern"]),
        ("I saw Copper Lantern.", ["Copper Lantern"]),
        ("a copper lantern", ["copper lantern"]),
        ("THE COPPERLANTERN?", ["THE COPPERLANTERN"]),
        ("copper-lantern!", ["copper-lantern"]),
        ("never, evening, eve", ["eve"]),
        ("Skylark's ending", ["Skylark"]),
        ("skylarks sing", []),
        ("try rivermen 2 or Rivermen II", ["rivermen 2", "Rivermen II"]),
        ("ai dreams, a.i. dreams", ["ai dreams", "a.i. dreams"]),
        ("too laut for me", []),
        ("amelie ponte", ["amelie ponte"]),
        ("Night of the Heron", ["Night of the Heron"]),
        ("kestrel", ["kestrel"]),
        ("get out now", ["get out now"]),
        ("such a good one", ["good one"]),
        ("Copper\nLantern", []),
        ("Copper ......... Lantern", []),
        (LONG.lower(), [LONG.lower()]),
        ("", []),
    ],
)
def test_places_of_names(text: str, surfaces: list[str]) -> None:
    assert found(text) == surfaces


@pytest.mark.parametrize(
    ("text", "surfaces"),
    [
        ("can you help me", []),
        ("it is late", []),
        ("It is late", []),
        ("have you seen It yet", ["It"]),
        ("I liked Help a lot", ["Help"]),
        ("HELP ME WITH THIS PLEASE", []),
        ("Please Help Them With Their Boxes", []),
        ('i saw "help" twice', ["help"]),
        ("i saw help (1965) twice", ["help"]),
        ("help!", ["help"]),
        ("we got to get her a coat", []),
        ("I saw The Good One too", ["The Good One"]),
        ("The other one", []),
    ],
)
def test_common_words_need_a_mark(text: str, surfaces: list[str]) -> None:
    assert found(text) == surfaces


def test_what_is_left_out_is_told() -> None:
    said: list[str] = []
    scan(texts_of(["can you help me with it", "skylark"]), GAZETTEER, said.append)
    assert said == ["2 texts hold 1 names; 2 of common words alone are left out"]


def test_people_are_found_beside_films() -> None:
    assert found("by Nadia Skylark Brun", "person") == ["Nadia Skylark Brun"]
    assert found("by Nadia Skylark Brun") == ["Skylark"]
    assert found("will eve's movie", "person") == ["will eve"]


def test_all_overlapping_names_are_given() -> None:
    gazetteer = gazetteer_of(["Harbour", "Glass Harbour", "The Glass Harbour Keeper"])
    hits = scan(texts_of(["the glass harbour keeper"]), gazetteer, silent)
    assert hits.select("surface", "tokens", "article_before").rows() == [
        ("the glass harbour keeper", 4, False), ("glass harbour", 2, True), ("harbour", 1, False),
    ]  # fmt: skip


def test_articles_and_spacing_are_noted() -> None:
    hits = scan(texts_of(["a copper lantern", "copperlantern", "copper lantern"]), GAZETTEER, silent)
    assert hits["article_before"].to_list() == [True, False, False]
    assert hits["spacing_differs"].to_list() == [False, True, False]


def test_equal_hashes_do_not_make_a_hit() -> None:
    # A gazetteer whose hashes say that every key is another one.
    wrong = gazetteer_of(["Skylark", "Kestrel"])
    swapped = Gazetteer(**{**wrong.__dict__, "key_of": wrong.key_of[::-1].copy()})
    assert scan(texts_of(["skylark kestrel"]), swapped, silent).height == 0


WORDS = st.sampled_from(
    ["so", "Zebras", "ran", "never", "&", "—", "'tis", "é\u0301", "🎬", "42,", "\x00", "(ok)", "ПРИВЕТ"]
)


@given(
    st.lists(WORDS, max_size=5),
    st.sampled_from(TITLES),
    st.lists(WORDS, max_size=5),
    st.sampled_from(["lower", "upper", "title", "as is"]),
)
@settings(max_examples=60, deadline=None)
def test_a_name_in_running_text_is_found_in_any_case(
    before: list[str], title: str, behind: list[str], case: str
) -> None:
    written = {"lower": title.lower(), "upper": title.upper(), "title": title.title(), "as is": title}[case]
    quoted = [*before, f'"{written}"', *behind]
    text = " ".join(quoted)
    hits = scan(texts_of([text]), GAZETTEER, silent)
    start = len(" ".join(before)) + (2 if before else 1)
    bare = title.removeprefix("The ")
    places = hits.filter(key=keyed(pl.Series([title]))["key"].item())
    assert (start + len(title) - len(bare)) in places["start"].to_list() or start in places["start"].to_list()


@given(
    st.lists(st.one_of(st.text(max_size=40), st.sampled_from([*TITLES, "never get out now", "Eve's HELP"])), max_size=6)
)
@settings(max_examples=60, deadline=None)
def test_hits_fold_to_their_key_and_cut_no_word(texts: list[str]) -> None:
    hits = scan(texts_of(texts), GAZETTEER, silent)
    for row, start, end, surface, key in hits.select("row", "start", "end", "surface", "key").iter_rows():
        text = texts[row]
        assert text[start:end] == surface
        assert keyed(pl.Series([surface]))["key"].item() == key
        assert start == 0 or not (text[start - 1].isalnum() and text[start].isalnum())
        assert end == len(text) or not (text[end - 1].isalnum() and text[end].isalnum())


@given(st.lists(st.sampled_from([*TITLES, "", "the", "I saw skylark", "\n", "help"]), max_size=8), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_texts_do_not_touch_each_other(texts: list[str], cut: int) -> None:
    frame = texts_of(texts)
    both = pl.concat([scan(frame[:cut], GAZETTEER, silent), scan(frame[cut:], GAZETTEER, silent)])
    assert scan(frame, GAZETTEER, silent).equals(both)


def test_rows_keep_their_numbers() -> None:
    frame = pl.DataFrame({"row": [90, 7], "text": ["skylark", "eve"]})
    assert scan(frame, GAZETTEER, silent).select("row", "key").rows() == [(90, "skylark"), (7, "eve")]


def test_a_huge_text() -> None:
    text = "so we watched skylark and " * 40_000
    hits = scan(texts_of([text, "eve"]), GAZETTEER, silent)
    assert hits.height == 40_001
    assert hits["surface"].unique().sort().to_list() == ["eve", "skylark"]
    assert hits["end"].max() > 1_000_000


def test_no_films_and_no_texts() -> None:
    assert scan(texts_of(["skylark"]), gazetteer_of([]), silent).height == 0
    assert scan(texts_of([]), GAZETTEER, silent).schema == HITS


def test_hits_of_a_name_do_not_depend_on_other_names() -> None:
    texts = texts_of(
        ["a sky lark, s k y l a r k, an eve", LONG, LONG.replace("Clocks", "Clo cks"), "help! together, to get her"]
    )
    among = scan(texts, GAZETTEER, silent).filter(kind="film").select("row", "start", "end", "key")
    assert among["key"].head(3).to_list() == ["skylark", "skylark", "eve"]
    assert among.height == 4
    for title in TITLES[2:]:  # the first two share a key
        alone = scan(texts, gazetteer_of([title]), silent).select("row", "start", "end", "key")
        assert alone.equals(among.filter(pl.col("key").is_in(gazetteer_of([title]).keys["key"].implode())))


def test_with_any_spacing_a_name_is_found_wherever_other_names_make_it_one() -> None:
    texts = texts_of(["we must get out", "to get her home", "it"])
    alone, both = gazetteer_of(["Getout"]), gazetteer_of(["Getout", "Get Out"])
    assert scan(texts, alone, silent).height == 0
    assert scan(texts, both, silent)["row"].to_list() == [0]
    assert scan(texts, with_any_spacing(alone), silent)["row"].to_list() == [0]
    assert scan(texts, with_any_spacing(gazetteer_of(["It"])), silent)["row"].to_list() == [2]
    assert scan(texts_of(["it is"]), with_any_spacing(gazetteer_of(["It"])), silent).height == 0
