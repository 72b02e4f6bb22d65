"""Title texts: what is read out of them, and repair of damaged text."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.text import percent_decoded, repaired
from pipelines.sources.titles import title_parts, with_article_in_front

# text -> (title, year, aliases): made up in the styles that catalogues use.
GOLDEN = [
    # The year in brackets at the end, and titles that are years.
    ("Heat (1995)", "Heat", 1995, []),
    ("Headhunters (2011))", "Headhunters", 2011, []),
    ("1917 (2019)", "1917", 2019, []),
    ("2012", "2012", None, []),
    ("1984", "1984", None, []),
    ("9/11 (2002)", "9/11", 2002, []),
    ("Blade Runner 2049 (2017)", "Blade Runner 2049", 2017, []),
    ("Blade Runner (2049)", "Blade Runner (2049)", None, []),
    ("Rurouni Kenshin: Tsuioku-hen (1999–2000)", "Rurouni Kenshin: Tsuioku-hen", 1999, []),
    ("Planet Dinosaur (2011- )", "Planet Dinosaur", 2011, []),
    ("Berlin in Pictures (1987-1997) (2021)", "Berlin in Pictures (1987-1997)", 2021, []),
    ("Solaris (1972) (1972)", "Solaris", 1972, []),
    ("Sleeping Beauty (2011/II)", "Sleeping Beauty", 2011, []),
    ("Sleeping Beauty (2011) (II)", "Sleeping Beauty", 2011, []),
    ("(2015)", "(2015)", None, []),
    # The article at the end.
    ("Matrix, The (1999)", "The Matrix", 1999, []),
    ("Beautiful Mind, A (2001)", "A Beautiful Mind", 2001, []),
    ("American in Paris, An", "An American in Paris", None, []),
    ("Lord of the Rings: The Two Towers, The (2002)", "The Lord of the Rings: The Two Towers", 2002, []),
    ("Dolce vita, La (1960)", "La Dolce vita", 1960, []),
    ("Avventura, L' (1960)", "L'Avventura", 1960, []),
    ("Untergang, Der (2004)", "Der Untergang", 2004, []),
    ("Fälscher, Die (2007)", "Die Fälscher", 2007, []),
    ("Soliti ignoti, I (1958)", "I Soliti ignoti", 1958, []),
    ("Auto da Compadecida, O (2000)", "O Auto da Compadecida", 2000, []),
    ("Femme est une femme, Une (1961)", "Une Femme est une femme", 1961, []),
    ("Boot, Das", "Das Boot", None, []),
    ("easterner, the", "The easterner", None, []),
    ("Try, Fail, Die", "Try, Fail, Die", None, []),
    ("Me, Myself, I (1992)", "Me, Myself, I", 1992, []),
    ("Good Morning, Vietnam (1987)", "Good Morning, Vietnam", 1987, []),
    ("Human Centipede, The (First Sequence) (2009)", "The Human Centipede (First Sequence)", 2009, []),
    # Other titles in brackets.
    ("Postman, The (Postino, Il) (1994)", "The Postman", 1994, ["Il Postino"]),
    ("Seven (a.k.a. Se7en) (1995)", "Seven", 1995, ["Se7en"]),
    ("Mad Max 2 (AKA The Road Warrior) (1981)", "Mad Max 2", 1981, ["The Road Warrior"]),
    ("Seducción (aka Secreto)", "Seducción", None, ["Secreto"]),
    (
        "Léon: The Professional (a.k.a. Professional, The) (Léon) (1994)",
        "Léon: The Professional",
        1994,
        ["The Professional", "Léon"],
    ),
    (
        "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
        "The City of Lost Children",
        1995,
        ["La Cité des enfants perdus"],
    ),
    (
        "Every Man for Himself (Sauve qui peut (la vie)) (1980)",
        "Every Man for Himself",
        1980,
        ["Sauve qui peut (la vie)"],
    ),
    ("Fears (Peur(s) du noir) (2007)", "Fears", 2007, ["Peur(s) du noir"]),
    ("Naked Truth, The (1957) (Your Past Is Showing)", "The Naked Truth", 1957, ["Your Past Is Showing"]),
    ("Three (a.k.a. 3) (2002)", "Three", 2002, ["3"]),
    ("Serbian Film, A (Srpski film) (2010)", "A Serbian Film", 2010, ["Srpski film"]),
    ("8 1/2 (8½) (1963)", "8 1/2", 1963, ["8½"]),
    # Brackets that belong to the title.
    ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009, []),
    (
        "Birdman or (The Unexpected Virtue of Ignorance)",
        "Birdman or (The Unexpected Virtue of Ignorance)",
        None,
        [],
    ),
    (
        "Birdman: Or (The Unexpected Virtue of Ignorance) (2014)",
        "Birdman: Or (The Unexpected Virtue of Ignorance)",
        2014,
        [],
    ),
    ("Bon Voyage (and Don't Come Back!) (1980)", "Bon Voyage (and Don't Come Back!)", 1980, []),
    ("Assassin(s) (1997)", "Assassin(s)", 1997, []),
    ("Ah Boys to Men (Part 1) (2012)", "Ah Boys to Men (Part 1)", 2012, []),
    ("The Meyerowitz Stories (New and Selected)", "The Meyerowitz Stories (New and Selected)", None, []),
    ("[REC]²", "[REC]²", None, []),
    ("[REC] (2007)", "[REC]", 2007, []),
    ("Alien³ (1992)", "Alien³", 1992, []),
    ("(Untitled) (2009)", "(Untitled)", 2009, []),
    ("()", "()", None, []),
    # What tells namesakes and editions apart.
    ("Black Friday (2004 film)", "Black Friday", 2004, []),
    ("Sangam (1964 Hindi film)", "Sangam", 1964, []),
    ("Fish_Tank_(film)", "Fish Tank", None, []),
    ("<http://dbpedia.org/resource/Crash_(2004_film)>", "Crash", 2004, []),
    ("https://en.wikipedia.org/wiki/Toy_Story", "Toy Story", None, []),
    ("Congo (Science Fiction Film)", "Congo", None, []),
    ("Schindler's List (2018 re-release)", "Schindler's List", 2018, []),
    ("Skyfall (4K UHD)", "Skyfall", None, []),
    ("Pinocchio (2020) (4K UHD) [English Subtitled]", "Pinocchio", 2020, []),
    ("Master (Tamil)", "Master", None, []),
    ("Incredibles 2 (Spanish Version)", "Incredibles 2", None, []),
    ("The Curtain Pole[1]", "The Curtain Pole", None, []),
    # Nothing to read, and escapes.
    ("%22Crocodile%22 Dundee (1986)", '"Crocodile" Dundee', 1986, []),
    ("100% Wolf", "100% Wolf", None, []),
    ("NA", "NA", None, []),
    ("Null (2014)", "Null", 2014, []),
    ("None", "None", None, []),
    ("Cry_Wolf Returns", "Cry_Wolf Returns", None, []),
]

KINDS = [
    ("Emma (TV series)", "Emma", "tv_series"),
    ("Salem's Lot (1979 TV miniseries)", "Salem's Lot", "tv_series"),
    ("Taxi: Season 2", "Taxi: Season 2", "tv_series"),
    ("Oz: The Complete Second Season", "Oz: The Complete Second Season", "tv_series"),
    ("Survivor: Season 1: Borneo", "Survivor: Season 1: Borneo", "tv_series"),
    ("Coupling: Series 3", "Coupling: Series 3", "tv_series"),
    ("Open Season 2", "Open Season 2", None),
    ("Hunting Season (2010)", "Hunting Season", None),
    ("A Series of Unfortunate Events", "A Series of Unfortunate Events", None),
    ("Season of the Witch", "Season of the Witch", None),
    ("Help (TV Movie) (2021)", "Help", "tv_movie"),
    ("Duel (TV)", "Duel", "tv_movie"),
    ("The Land Before Time III (1995) (V)", "The Land Before Time III", "video"),
    ("Doom (video game)", "Doom", "game"),
    ("Saw (franchise)", "Saw", "other"),
    ("Pistol Opera (Pisutoru opera) (2001)", "Pistol Opera", None),
]


def read(text: str) -> tuple[str, int | None, list[str], str | None]:
    parts, aliases = title_parts(pl.Series([text]))
    row = parts.row(0, named=True)
    return row["title"], row["year"], aliases["alias"].to_list(), row["kind"]


@pytest.mark.parametrize(("text", "title", "year", "aliases"), GOLDEN, ids=[case[0] for case in GOLDEN])
def test_golden_titles(text, title, year, aliases):
    assert read(text)[:3] == (title, year, aliases)


@pytest.mark.parametrize(("text", "title", "kind"), KINDS, ids=[case[0] for case in KINDS])
def test_kinds_in_titles(text, title, kind):
    found, _, _, found_kind = read(text)
    assert (found, found_kind) == (title, kind)


def test_all_titles_together_read_as_each_alone():
    parts, aliases = title_parts(pl.Series([case[0] for case in GOLDEN]))
    assert parts["title"].to_list() == [case[1] for case in GOLDEN]
    assert parts["year"].to_list() == [case[2] for case in GOLDEN]
    by_row = {row: group["alias"].to_list() for (row,), group in aliases.group_by("row", maintain_order=True)}
    assert by_row == {i: case[3] for i, case in enumerate(GOLDEN) if case[3]}


def test_a_span_of_years_is_the_title_s_own_where_the_record_states_a_year():
    texts = pl.Series(["The Scholars (1987-1997)"] * 2)
    parts, _ = title_parts(texts, has_year=pl.Series([True, False]))
    assert parts["title"].to_list() == ["The Scholars (1987-1997)", "The Scholars"]
    assert parts["year"].to_list() == [None, 1987]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(categories=("L",)), min_size=2, max_size=9), min_size=1, max_size=5))
def test_a_plain_title_stays_as_it_is(words):
    text = " ".join(words)
    assert read(text) == (text, None, [], None)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60).filter(lambda t: t.strip()))
def test_every_text_has_a_title(text):
    clean = repaired(pl.Series([text]))
    if clean[0] is not None:
        parts, _ = title_parts(clean)
        assert parts.height == 1
        assert parts["title"][0]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([case[1] for case in GOLDEN if "(" not in case[1] and not case[1].endswith(("I", "Die"))]),
    st.integers(1870, 2035),
)
def test_reading_is_idempotent_and_years_come_off(title, year):
    assert read(f"{title} ({year})")[:2] == (title, year)
    assert read(title)[0] == title


def test_articles():
    moved = pl.select(with_article_in_front(pl.Series(["Amant, L'", "Gestern, Ein", "Theodora", "La, la"])))
    assert moved.to_series().to_list() == ["L'Amant", "Ein Gestern", "Theodora", "La, la"]


DAMAGED = [
    ("AmÃ©lie", "Amélie"),
    ("Mr. Hollandâ\x80\x99s Opus", "Mr. Holland’s Opus"),
    ("Isnâ€™t She Great", "Isn’t She Great"),
    ("Ne le dis Ã personne", "Ne le dis à personne"),
    ("Voir lÃ", "Voir là"),
    ("SmÃ\x83Â\x83Ã\x82Â\xadch", "Smích"),
    ("DÌ©sirÌ©e", "Désirée"),
    ("Ender&#39;s Game", "Ender's Game"),
    ("Bread &amp;amp; Roses", "Bread & Roses"),
    ("Micmacs &agrave; tire-larigot", "Micmacs à tire-larigot"),
    ("Q&A", "Q&A"),
    ("Fish &chips; and", "Fish &chips; and"),
    ("Avatar\xa0", "Avatar"),
    ("Two  spaces\tand\nlines", "Two spaces and lines"),
    ("Zero\u200bwidth\ufeff", "Zerowidth"),
    ("Nul\x00l", "Null"),
    ("Cafe\u0301", "Café"),
    ("AMANHÃ", "AMANHÃ"),
    ("SÃO PAULO", "SÃO PAULO"),
    ("Naïve café à Paris", "Naïve café à Paris"),
    ("می\u200cخواهم", "می\u200cخواهم"),
    (".mw-parser-output .frac{white-space:nowrap}33 Films", "33 Films"),
    (" \x00 ", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("text", "whole"), DAMAGED, ids=[repr(case[0]) for case in DAMAGED])
def test_repair(text, whole):
    assert repaired(pl.Series([text], dtype=pl.String)).to_list() == [whole]


def test_repair_leaves_its_argument_alone():
    texts = pl.Series(["AmÃ©lie", "plain"])
    repaired(texts)
    assert texts.to_list() == ["AmÃ©lie", "plain"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=8))
def test_repair_is_idempotent_and_keeps_rows(texts):
    once = repaired(pl.Series(texts, dtype=pl.String))
    assert len(once) == len(texts)
    assert repaired(once).to_list() == once.to_list()


def test_percent_decoding_only_where_text_comes_out():
    texts = pl.Series(["Caf%C3%A9", "100%AB", "a%00b", "plain", None])
    assert percent_decoded(texts).to_list() == ["Café", "100%AB", "a%00b", "plain", None]
