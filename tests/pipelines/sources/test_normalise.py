"""Raw records -> core_title_records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.linking.keys import with_keys
from pipelines.sources.normalise import normalise, record_ids
from warehouse.tables.titles import CORE_TITLE_RECORDS, RAW_TITLE_COLUMNS

RAW_SCHEMA = pl.Schema({c.name: c.dtype for c in RAW_TITLE_COLUMNS})


@dataclass(frozen=True)
class Block:
    name: str = "attic"
    kind: str | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)


def raw(*rows: dict) -> pl.DataFrame:
    """Raw records: state what matters, the rest is filled in."""
    filled = [
        {"source_id": str(i), "file": "attic.csv", "line": i + 1, "row_hash": i, "title": f"Film {i}", **row}
        for i, row in enumerate(rows)
    ]
    return pl.DataFrame([{c: row.get(c) for c in RAW_SCHEMA} for row in filled], schema=RAW_SCHEMA)


def one(block: Block | None = None, **fields) -> dict:
    return normalise(raw(fields), block or Block()).row(0, named=True)


def values(name: str, field_name: str, texts: list) -> list:
    return normalise(raw(*({field_name: text} for text in texts)), Block())[name].to_list()


def test_conforms_to_its_contract():
    frame = normalise(raw({"title": "Heat (1995)", "genres": ["Crime"]}, {}), Block())
    assert CORE_TITLE_RECORDS.violations(frame) == []
    assert frame.columns == [c.name for c in CORE_TITLE_RECORDS.columns]


def test_no_records():
    frame = normalise(raw(), Block(patterns={"title": r"^(?P<title>.*)$"}))
    assert frame.height == 0
    assert frame.schema == CORE_TITLE_RECORDS.schema


def test_a_whole_record():
    record = one(
        source_id="42",
        title="Postman, The (Postino, Il) (1994)",
        original_title="Postino, Il",
        aliases=["The Postman", "El cartero", "el CARTERO", "Postman, The (1994)"],
        kind="Movie",
        genres=["Comedy", "Drama", "Romance", "Dramas", "Chinese food"],
        directors=["Michael Radford", "nm0705535"],
        cast_members=["Massimo Troisi (Mario)", "and", "Massimo Troisi", "Philippe Noiret"],
        plot=" A postman  learns\nto love poetry. ",
        runtime="108 min",
        languages=["Italian", "Spanish", "xx", "Klingon"],
        countries=["Italy", "France", "USA"],
        votes="35,000",
        imdb_id="0110877",
        tmdb_id="11010.0",
        movielens_id="58",
        wikidata_id="http://www.wikidata.org/entity/Q846544",
        dbpedia_uri="<http://dbpedia.org/resource/Il_Postino:_The_Postman>",
    )
    assert record == record | {
        "source": "attic",
        "title": "The Postman",
        "original_title": "Il Postino",
        "aliases": ["El cartero"],
        "year": 1994,
        "kind": "movie",
        "is_film": True,
        "genres": ["Comedy", "Drama", "Romance"],
        "directors": ["Michael Radford"],
        "cast_members": ["Massimo Troisi", "Philippe Noiret"],
        "plot": "A postman learns to love poetry.",
        "runtime_min": 108,
        "languages": ["it", "es", "Klingon"],
        "countries": ["IT", "FR", "US"],
        "votes": 35000,
        "imdb_id": "tt0110877",
        "tmdb_id": 11010,
        "movielens_id": 58,
        "wikidata_id": "Q846544",
        "dbpedia_uri": "http://dbpedia.org/resource/Il_Postino:_The_Postman",
        "wikipedia_slug": "Il_Postino:_The_Postman",
        "issues": [],
    }


def test_record_ids_are_a_fixed_function_of_source_and_id():
    found = record_ids(pl.DataFrame({"source": ["attic"], "source_id": ["42"]}))
    # Pinned: ids of records are stored, so the same record must have the same number for ever.
    lower_half = hashlib.md5(b"attic:42").digest()[8:]
    assert found.to_list() == [int.from_bytes(lower_half, "little") >> 1] == [7332626800654649587]
    assert found.dtype == pl.Int64
    assert one(source_id="42")["record_id"] == found[0]


YEARS = [
    ("1999", 1999, None),
    ("1894.0", 1894, None),
    ("Dec 18, 2009", 2009, None),
    ("June 13, 1980 (United States)", 1980, None),
    ("2013-09-02T00:00:00Z", 2013, None),
    ("01-Jan-1995", 1995, None),
    ("20090316", 2009, None),
    ("2006–2007", 2006, None),
    ("Jun 12 1998", 1998, None),
    (None, None, None),
    ("", None, None),
    ("201", None, "year out of range: 201"),
    ("2046", None, "year out of range: 2046"),
    ("Dec 12, 2046", None, "year out of range: 2046"),
    ("-44", None, "year out of range: -44"),
    ("30-Mar-21", None, "year has two digits: 30-Mar-21"),
    ("unknown", None, "year not understood: unknown"),
]


@pytest.mark.parametrize(("text", "year", "issue"), YEARS, ids=[repr(case[0]) for case in YEARS])
def test_years(text, year, issue):
    record = one(year=text)
    assert (record["year"], record["issues"]) == (year, [issue] if issue else [])


def test_the_record_s_own_year_goes_before_the_title_s():
    assert one(title="Sanjuro (1962)", year="1963")["year"] == 1963
    assert one(title="Sanjuro (1962)", year="1963")["title"] == "Sanjuro"
    assert one(title="Sanjuro (1962)", year="sixty-two")["year"] == 1962


RUNTIMES = [
    ("142 min", 142),
    ("142", 142),
    ("146.0", 146),
    ("1h 30m", 90),
    ("1 h", 60),
    ("2 hours and 5 minutes", 125),
    ("PT142M", 142),
    ("PT2H22M", 142),
    ("1:30:00", 90),
    ("7380 s", 123),
    ("90 min (director's cut)", 90),
    ("0", None),
    ("4 Seasons", None),
    ("1 Season", None),
]


@pytest.mark.parametrize(("text", "minutes"), RUNTIMES)
def test_runtimes(text, minutes):
    record = one(runtime=text)
    assert (record["runtime_min"], record["issues"]) == (minutes, [])


@pytest.mark.parametrize(
    ("text", "issue"),
    [
        ("7380", "runtime out of range: 7380"),
        ("long", "runtime not understood: long"),
        ("P", "runtime not understood: P"),
    ],
)
def test_runtimes_that_are_none(text, issue):
    record = one(runtime=text)
    assert (record["runtime_min"], record["issues"]) == (None, [issue])


IDS = [
    ("imdb_id", "tt0114709", "tt0114709"),
    ("imdb_id", "114709", "tt0114709"),
    ("imdb_id", "tt12345678", "tt12345678"),
    ("imdb_id", "http://www.imdb.com/title/tt0114709/?ref_=fn_tt_tt_1", "tt0114709"),
    ("imdb_id", "nm0000001", None),
    ("imdb_id", "0", None),
    ("imdb_id", "tt1234567890", None),
    ("imdb_id", "http://us.imdb.com/M/title-exact?Heat%20(1995)", None),
    ("tmdb_id", "862", 862),
    ("tmdb_id", "https://www.themoviedb.org/movie/862-toy-story", 862),
    ("tmdb_id", "https://www.themoviedb.org/tv/862", None),
    ("tmdb_id", "0", None),
    ("tmdb_id", "-5", None),
    ("movielens_id", "https://movielens.org/movies/1", 1),
    ("movielens_id", "one", None),
    ("wikidata_id", "Q171048", "Q171048"),
    ("wikidata_id", "q171048", "Q171048"),
    ("wikidata_id", "P31", None),
    ("wikidata_id", "Q0", None),
    ("dbpedia_uri", "http://dbpedia.org/resource/Cats_%26_Dogs", "http://dbpedia.org/resource/Cats_&_Dogs"),
    ("dbpedia_uri", "Toy Story", "http://dbpedia.org/resource/Toy_Story"),
    ("dbpedia_uri", "http://fr.dbpedia.org/resource/Toy_Story", None),
    ("wikipedia_slug", "Cats_%26_Dogs", "Cats_&_Dogs"),
    ("wikipedia_slug", "Who Is Harry Crumb?", "Who_Is_Harry_Crumb?"),
    (
        "wikipedia_slug",
        "https://en.wikipedia.org/wiki/Who%27s_Harry_Crumb%3F?action=raw#Cast",
        "Who's_Harry_Crumb?",
    ),
    ("wikipedia_slug", "/wiki/eXistenZ", "EXistenZ"),
    ("wikipedia_slug", "https://fr.wikipedia.org/wiki/Toy_Story", None),
    ("wikipedia_slug", "/w/index.php?title=Toy_Story&redlink=1", None),
]


@pytest.mark.parametrize(("name", "text", "value"), IDS, ids=[f"{case[0]} {case[1]}" for case in IDS])
def test_identifiers(name, text, value):
    record = one(**{name: text})
    assert record[name] == value
    assert record["issues"] == ([] if value is not None else [f"{name} not understood: {text}"])


def test_votes():
    assert values("votes", "votes", ["28,341,469", "9300.0", "12 000", "0", None]) == [
        28341469,
        9300,
        12000,
        0,
        None,
    ]
    assert one(votes="many")["issues"] == ["votes not understood: many"]
    assert one(votes="9" * 30)["votes"] is None


def test_issues_quote_only_the_start_of_a_bad_value():
    (issue,) = one(year="x" * 5000)["issues"]
    assert issue == "year not understood: " + "x" * 80


def test_several_issues_keep_the_order_of_the_fields():
    record = one(year="soon", kind="sculpture", runtime="long", imdb_id="?")
    assert [issue.split(" ")[0] for issue in record["issues"]] == ["year", "kind", "runtime", "imdb_id"]


def test_kinds_from_the_record_then_the_title_then_the_source():
    block = Block(kind="movie", kinds={"Flick": "short"})
    assert one(block, kind="FLICK", title="Emma (TV series)")["kind"] == "short"
    assert one(block, kind="tvEpisode")["kind"] == "tv_episode"
    assert one(block, kind="sculpture")["kind"] == "movie"
    assert one(block, title="Taxi: Season 2")["kind"] == "tv_series"
    assert one(block)["kind"] == "movie"
    assert one()["kind"] is None


@pytest.mark.parametrize(
    ("kind", "is_film"),
    [(None, True), ("movie", True), ("Short", True), ("tvMovie", True), ("video", True), ("tvSpecial", True),
     ("TV Show", False), ("tvMiniSeries", False), ("tvEpisode", False), ("videoGame", False),
     ("tvShort", True)],
)  # fmt: skip
def test_films(kind, is_film):
    assert one(kind=kind)["is_film"] is is_film


def test_people():
    names = ["Thea von Harbou (novel)", "(uncredited)", "and", ".", "]", "", "X", "nm0000001", None,
             "and Ann Lee", '"Weird Al" Yankovic', "JR", "Jr.", "With: Ann Lee", "Ren&eacute;e Adoree",
             "Thea von Harbou"]  # fmt: skip
    people = ["Thea von Harbou", "Ann Lee", '"Weird Al" Yankovic', "JR", "Renée Adoree"]
    record = one(directors=names, cast_members=names[::-1])
    assert record["directors"] == people
    assert sorted(record["cast_members"]) == sorted(people)


def test_missing_lists_are_empty():
    record = one(genres=None, directors=[], cast_members=[None])
    assert [record[name] for name in ("genres", "directors", "cast_members", "languages", "aliases")] == [[]] * 5


def test_original_title_only_where_it_differs():
    assert one(title="Heat (1995)", original_title="HEAT")["original_title"] is None
    assert one(title="Das Boot", original_title="Boot, Das")["original_title"] is None
    assert one(title="Inception", original_title="A Origem (2010)")["original_title"] == "A Origem"


def test_aliases_never_repeat_the_titles():
    record = one(
        title="Seven (a.k.a. Se7en) (1995)",
        original_title="Se7en",
        aliases=["SEVEN", "se7en", None, " ", "Sieben"],
    )
    assert record["aliases"] == ["Sieben"]


@pytest.mark.parametrize("title", ["", " ", "\x00", "\u200b"])
def test_a_record_without_a_title_is_kept_under_a_name_of_its_own(title):
    record = one(title=title, source_id="7")
    assert record["title"] == "[untitled attic:7]"
    assert record["issues"] == ["title is empty"]


def test_a_title_that_is_only_a_year_names_nothing():
    record = one(title=" (2015)", source_id="7")
    assert (record["title"], record["year"]) == ("[untitled attic:7]", 2015)
    assert record["issues"] == ["title is only a year: (2015)"]


def test_a_title_that_is_its_dbpedia_resource():
    record = one(title="Bill_%26_Ted_(film)", dbpedia_uri="http://dbpedia.org/resource/Bill_%26_Ted_(film)")
    assert record["title"] == "Bill & Ted"
    assert one(title="Cry_Wolf", dbpedia_uri="http://dbpedia.org/resource/Other")["title"] == "Cry_Wolf"


def test_a_block_s_own_title_pattern():
    block = Block(patterns={"title": r"^(?P<title>.*?), (?P<year>\d{4}) / (?P<alias>.*)$"})
    record = one(block, title="Boot, Das, 1981 / The Boat")
    assert (record["title"], record["year"], record["aliases"]) == ("Das Boot", 1981, ["The Boat"])
    # A text that the pattern does not fit is read by the general rules. A year out of range stays.
    assert one(block, title="Boot, Das (1981)")["title"] == "Das Boot"
    assert one(block, title="Odyssey, 3001 / X")["title"] == "Odyssey, 3001 / X"


def test_brackets_before_a_year_that_the_pattern_takes_hold_another_title():
    block = Block(patterns={"title": r"^(?P<title>.*?)\s*\((?P<year>\d{4})\)\s*$"})
    record = one(block, title="Wild Tales (Relatos salvajes) (2014)")
    assert (record["title"], record["year"], record["aliases"]) == ("Wild Tales", 2014, ["Relatos salvajes"])


def test_a_pattern_without_a_title_group_is_refused():
    with pytest.raises(ValueError, match="no group called title"):
        one(Block(patterns={"title": r"^(?P<name>.*)$"}))


def test_comparison_keys_are_those_of_the_linking():
    frame = normalise(raw({"title": "Alien: Covenant (2017)", "aliases": ["Alien Paradise Lost"]}), Block())
    bare = frame.drop("title_key", "alias_keys", "part_keys", "director_keys", "cast_keys")
    assert with_keys(bare).select(frame.columns).equals(frame)
    assert frame["title_key"][0] == "aliencovenant"


texts = st.one_of(
    st.none(),
    st.text(max_size=25),
    st.sampled_from(["1999", "Heat (1995)", "Matrix, The", "tt0114709", "120 min", "TV Show", "Q1", "&amp;", "Ã©"]),
)
TEXT_FIELDS = (
    "year", "kind", "runtime", "votes", "plot", "original_title", "imdb_id", "tmdb_id", "wikidata_id",
    "dbpedia_uri", "wikipedia_slug",
)  # fmt: skip
LIST_FIELDS = ("genres", "cast_members", "aliases", "languages")
records = st.fixed_dictionaries(
    dict.fromkeys(TEXT_FIELDS, texts)
    | dict.fromkeys(LIST_FIELDS, st.one_of(st.none(), st.lists(texts, max_size=3)))
    | {"title": texts.map(lambda t: t or "")}
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(records, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_nothing_is_lost_whatever_comes_and_order_does_not_matter(rows, random):
    frame = raw(*rows)
    result = normalise(frame, Block())
    assert CORE_TITLE_RECORDS.violations(result) == []
    assert result["source_id"].to_list() == frame["source_id"].to_list()
    order = list(range(frame.height))
    random.shuffle(order)
    assert normalise(frame[order], Block()).equals(result[order])


NORMAL_TITLES = (
    "The Matrix", "L'Avventura", "(500) Days of Summer", "1917", "[REC]²", "Il Postino", "Ocean's 11", "Q&A",
)  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.sampled_from(NORMAL_TITLES), min_size=1, max_size=5),
    st.lists(st.sampled_from(["Action", "Drama", "Sci-Fi", "Film-Noir"]), unique=True),
)
def test_normal_records_stay_as_they_are(titles, genres):
    first = normalise(raw(*({"title": t, "genres": genres, "directors": ["Ann Lee"]} for t in titles)), Block())
    again = raw(*(first.select("title", "genres", "directors").to_dicts()))
    assert (
        normalise(again, Block())
        .select("title", "year", "genres", "directors")
        .equals(first.select("title", "year", "genres", "directors"))
    )
    assert first["title"].to_list() == titles
