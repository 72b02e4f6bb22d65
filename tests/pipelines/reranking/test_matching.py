"""Which film a line is, by every rule, and what nobody may be taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reranking.matching import Film, Found, Ranking, Read, name_key, read_rankings, shown_names, with_year
from pipelines.reranking.parsing import parse

FILMS = [
    ("m1", "Heat", 1995, ()),
    ("m2", "Heat", 1986, ()),
    ("m3", "The Ring", 2002, ("Ringu",)),
    ("m4", "Toy Story 3", 2010, ()),
    ("m5", "Birdman: Or the Virtue of Ignorance", 2014, ()),
    ("m6", "Amélie", 2001, ("Le Fabuleux Destin d'Amélie Poulain",)),
    ("m7", "Wonder Woman 1984", 2020, ()),
    ("m8", "Rocky II", 1979, ()),
]
# What the corpus holds beside the candidates.
CORPUS = {
    "the king": [Found("c1", 2019, True)],
    "toy story 2": [Found("c2", 1999, True)],
    "amelie of montmartre": [Found("m6", 2001, True)],
    "heat": [Found("c3", 1972, True), Found("m1", 1995, True), Found("m2", 1986, True)],
    "casablanka": [Found("c4", 1942, False)],
    "solaris": [Found("c5", 1972, True), Found("c6", 2002, True)],
}


def shown(films: Sequence[tuple[str, str, int | None, Sequence[str]]] = FILMS) -> list[Film]:
    names = shown_names([(movie_id, title, year, ()) for movie_id, title, year, _ in films])
    return [
        Film(movie_id, name, year, (title, *others))
        for (movie_id, title, year, others), name in zip(films, names, strict=True)
    ]


def look_up(titles: Sequence[str]) -> Mapping[str, Sequence[Found]]:
    return {title: CORPUS[title.lower()] for title in titles if title.lower() in CORPUS}


def ranking(answer: str, missing: Sequence[str] = (), films: Sequence[Film] | None = None) -> Ranking:
    return read_rankings({"a": parse(answer)}, {"a": films or shown()}, look_up, missing)["a"]


def line(written: str, missing: Sequence[str] = ()) -> Read:
    return ranking(f"1. {written}\n2. Rocky II (1979)", missing).lines[0]


@pytest.mark.parametrize(
    ("written", "movie_id"),
    [
        ("Heat (1995)", "m1"),
        ("Heat (1986)", "m2"),
        ("Heat (1987)", "m2"),  # a year off
        ("HEAT, 1995", "m1"),
        ("**Heat** (1995) - tense", "m1"),
        ("Ring, The (2002)", "m3"),
        ("ring", "m3"),
        ("Ringu", "m3"),
        ("Amelie", "m6"),
        ("Le fabuleux destin d’Amélie Poulain (2001)", "m6"),
        ("Amelie of Montmartre", "m6"),
        ("Wonder Woman 1984", "m7"),
        ("Wonder Woman 1984 (2020)", "m7"),
        ("Rocky 2", "m8"),
        ("Birdman", "m5"),
        ("Toy Stroy 3 (2010)", "m4"),
        ("Birdman: Or the Virtue of Ignorence", "m5"),
        ("The Ring (2001 film)", "m3"),
    ],
)
def test_a_candidate_is_found_by_its_names(written: str, movie_id: str) -> None:
    found = line(written)
    assert (found.kind, found.movie_id) == ("candidate", movie_id)
    assert found.reason


@pytest.mark.parametrize(
    ("written", "kind", "movie_id"),
    [
        ("The King", "not_a_candidate", "c1"),  # nearly `The Ring`, but a film of its own
        ("Toy Story 2", "not_a_candidate", "c2"),
        ("Toy Story 4", "not_in_corpus", None),
        ("Heat (1972)", "not_a_candidate", "c3"),
        ("Casablanka", "not_a_candidate", "c4"),
        ("Solaris (2002)", "not_a_candidate", "c6"),
        ("Solaris (1985)", "not_in_corpus", None),
        ("Solaris: a film about memory", "not_a_candidate", "c5"),
        ("Nine Winters in Halvard", "not_in_corpus", None),
        ("???", "unparseable", None),
    ],
)
def test_what_is_no_candidate_is_told_apart(written: str, kind: str, movie_id: str | None) -> None:
    found = line(written)
    assert (found.kind, found.movie_id) == (kind, movie_id)
    assert found.reason


def test_a_film_known_to_be_missing_is_real() -> None:
    assert line("Nine Winters in Halvard (1988)", ["Nine Winters in Halvard (1988)"]).kind == "real_but_missing"


def test_a_wrong_year_does_not_hide_a_candidate_that_alone_has_the_name() -> None:
    found = line("Amélie (1950)")
    assert (found.kind, found.movie_id) == ("candidate", "m6")
    assert "1950" in found.reason and "2001" in found.reason


def test_films_of_one_name_without_years_are_taken_in_turn() -> None:
    found = ranking("1. Heat\n2. Heat\n3. Heat")
    assert found.ranked == ("m1", "m2")
    assert [each.kind for each in found.lines] == ["candidate", "candidate", "repeated"]
    assert "2 candidates" in found.lines[0].reason


def test_a_repeated_candidate_counts_once() -> None:
    found = ranking("1. The Ring\n2. Rocky II\n3. The Ring (2002)")
    assert found.ranked == ("m3", "m8")
    assert found.lines[2].kind == "repeated"


def test_films_of_one_name_and_year_are_shown_and_found_apart() -> None:
    facts = [
        ("a", "Dawn", 1990, ("Ada Quill",)),
        ("b", "Dawn", 1990, ("Bo Reed",)),
        ("c", "Dawn", 1990, ()),
        ("d", "Dusk", None, ()),
    ]
    names = shown_names(facts)
    assert names[0] == "Dawn (1990) [directed by Ada Quill]"
    assert names[3] == "Dusk"
    assert len({name.casefold() for name in names}) == 4
    films = [
        Film(movie_id, name, year, (title,)) for (movie_id, title, year, _), name in zip(facts, names, strict=True)
    ]
    answer = "\n".join(
        f"{place}. {name}" for place, name in enumerate([names[2], names[1], names[3], names[0]], start=1)
    )
    assert ranking(answer, films=films).ranked == ("c", "b", "d", "a")


def test_similarity_is_that_of_the_most_similar_title() -> None:
    assert line("The Ring (2002)").similarity == 1
    # The same but for the last letter: 2 * 3 equal letters of 4 + 4.
    assert line("Rink").similarity == pytest.approx(0.75)
    # RAR's rule does not see that this one is another film.
    king = line("Toy Story 2")
    assert king.kind == "not_a_candidate" and king.similarity is not None and king.similarity >= 0.85


def test_of_two_lists_that_with_candidates_is_read() -> None:
    found = ranking("They like:\n1. crime\n2. cities\n3. old films\n\nRanking:\n1. The Ring\n2. Rocky II")
    assert found.ranked == ("m3", "m8")
    assert found.problem == "2 lists: the one that names the most candidates was read"


def test_an_answer_without_candidates_says_so() -> None:
    assert ranking("I cannot say.") == Ranking(problem="there is no list in the answer")
    assert ranking("1. Solaris\n2. The King").problem == "no line names a candidate"


def test_the_corpus_is_asked_once_and_only_about_what_is_open() -> None:
    asked: list[list[str]] = []

    def counting(titles: Sequence[str]) -> Mapping[str, Sequence[Found]]:
        asked.append(list(titles))
        return {}

    films = shown()
    answers = {"a": parse("1. The Ring\n2. Solaris"), "b": parse("1. Rocky II\n2. Solaris\n3. Dusk")}
    read_rankings(answers, dict.fromkeys(answers, films), counting)
    assert asked == [["Solaris", "Dusk"]]


@given(st.permutations(range(len(FILMS))))
def test_what_is_shown_is_found_again_in_any_order(order: list[int]) -> None:
    films = shown()
    answer = "\n".join(f"{place}. {films[at].shown}" for place, at in enumerate(order, start=1))
    found = ranking(answer)
    assert found.ranked == tuple(films[at].movie_id for at in order)
    assert {each.similarity for each in found.lines} == {1.0}


@given(st.lists(st.tuples(st.sampled_from(["Dawn", "dawn", "Dusk [2]", "Dawn (1990)", "?!", "Ärger", "The The"]), st.none() | st.sampled_from([1990, 1991]), st.lists(st.sampled_from(["A B", "C"]), max_size=2)), min_size=1, max_size=8))  # fmt: skip
def test_no_two_candidates_are_shown_by_one_name(films: list[tuple[str, int | None, list[str]]]) -> None:
    names = shown_names([(str(at), title, year, directors) for at, (title, year, directors) in enumerate(films)])
    assert len({name.casefold() for name in names}) == len(films)


@given(st.text(max_size=300))
def test_any_line_has_a_kind_and_ranked_are_candidates(written: str) -> None:
    found = ranking(f"1. {written}\n2. The Ring")
    assert set(found.ranked) <= {film[0] for film in FILMS}
    assert all(each.reason for each in found.lines)
    assert all((each.movie_id in found.ranked) == (each.kind in ("candidate", "repeated")) for each in found.lines)
    assert all(each.similarity is None or 0 <= each.similarity <= 1 for each in found.lines)


@pytest.mark.parametrize(
    ("text", "name", "year"),
    [
        ("Heat (1995)", "Heat", 1995),
        ("Heat [1995 film]", "Heat", 1995),
        ("Heat, 1995", "Heat", 1995),
        ("Heat (1995) [restored]", "Heat", 1995),
        ("Heat (special edition)", "Heat", None),
        ("1917", "1917", None),
        ("1917 (2019)", "1917", 2019),
        ("Wonder Woman 1984", "Wonder Woman 1984", None),
        ("(1995)", "(1995)", None),
    ],
)
def test_years_are_read(text: str, name: str, year: int | None) -> None:
    assert with_year(text) == (name, year)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Matrix", "matrix"),
        ("Matrix, The", "The Matrix"),
        ("Rocky II", "Rocky 2"),
        ("Se7en!", "se7en"),
        ("Tom & Jerry", "Tom and Jerry"),
        ("Ocean’s Twelve", "Oceans Twelve"),
        ("WALL·E", "wall e"),
    ],
)
def test_equal_names_have_equal_keys(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("V", "5"), ("X", "10"), ("?!", "!?"), ("The", "A")])
def test_different_names_have_different_keys(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)
