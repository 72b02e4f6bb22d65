"""Films as text: the lines of RAR's table 7, the same for the same film."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.retrieval.item_text import CAST_MAX, MOVIE_COLUMNS, item_text
from warehouse.tables.corpus import CORE_MOVIES

SCHEMA = {name: CORE_MOVIES.schema[name] for name in MOVIE_COLUMNS}
LIGHTHOUSE = {
    "movie_id": "mv1",
    "title": "The Last Lighthouse",
    "year": 1987,
    "genres": ["Drama", "Mystery"],
    "directors": ["Ada Wren"],
    "cast_members": ["B. One", "C. Two", "D. Three", "E. Four", "F. Five", "G. Six"],
    "plot": "A keeper\nfinds  a map.",
}


def texts(*films: dict) -> pl.DataFrame:
    return item_text(pl.DataFrame([{**dict.fromkeys(SCHEMA), **film} for film in films], schema=SCHEMA))


def test_one_line_a_field_with_the_plot_last() -> None:
    assert texts(LIGHTHOUSE)["text"].item() == (
        "Title: The Last Lighthouse\n"
        "Year: 1987\n"
        "Genre: Drama, Mystery\n"
        "Director: Ada Wren\n"
        "Cast: B. One, C. Two, D. Three, E. Four, F. Five\n"
        "Plot: A keeper finds a map."
    )


def test_missing_and_blank_fields_are_left_out() -> None:
    films = [
        {"movie_id": "a", "title": "Only"},
        {"movie_id": "b", "title": "Only", "genres": [], "directors": ["", " "], "cast_members": [None], "plot": " \n"},
    ]
    assert texts(*films)["text"].to_list() == ["Title: Only"] * 2


def test_hash_is_of_the_text_alone_and_the_same_everywhere() -> None:
    one, other = {"movie_id": "a", "title": "Only", "year": 1987}, {"movie_id": "b", "title": "Only", "year": 1988}
    found = texts(one, {**one, "movie_id": "c"}, other)
    assert found["text_hash"][0] == found["text_hash"][1] != found["text_hash"][2]
    # MD5 of "Title: Only\nYear: 1987" is 63 bits of a number that no version of polars or process has a say in.
    assert texts({"movie_id": "a", "title": "Only", "year": 1987})["text_hash"].item() == found["text_hash"][0]


def test_films_of_several_chunks_and_none_at_all() -> None:
    frame = pl.DataFrame([LIGHTHOUSE], schema=SCHEMA)
    together = item_text(pl.concat([frame, frame.with_columns(movie_id=pl.lit("mv2"))], rechunk=False))
    assert together["text"].n_unique() == 1 and together["movie_id"].to_list() == ["mv1", "mv2"]
    assert item_text(frame.clear()).schema == {"movie_id": pl.String, "text": pl.String, "text_hash": pl.Int64}


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "title": st.text(min_size=1),
                "cast_members": st.lists(st.text(), max_size=8),
                "plot": st.none() | st.text(),
            }
        ),
        max_size=5,
    )
)
def test_no_field_can_begin_another_line(films: list[dict]) -> None:
    rows = [{"movie_id": f"mv{k}", "genres": [], "directors": [], **film} for k, film in enumerate(films)]
    found = texts(*rows)
    assert found["movie_id"].to_list() == [row["movie_id"] for row in rows]
    for text in found["text"]:
        keys = [line.split(": ")[0] for line in text.split("\n") if line]
        assert set(keys) <= {"Title", "Cast", "Plot"} and len(keys) == len(set(keys))
        cast = next((line for line in text.split("\n") if line.startswith("Cast")), "")
        assert len(cast.split(", ")) <= CAST_MAX + sum(name.count(", ") for row in rows for name in row["cast_members"])
