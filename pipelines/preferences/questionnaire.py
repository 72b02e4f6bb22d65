"""Films that a seeker liked over films that the same seeker did not like, from ReDial's questionnaires.

Both sides of a conversation said of each film whether the seeker liked it (Li et al. 2018, section 3): the only preferences here that a
person stated about films. The answers are made: the same phrase around either film.
"""

from __future__ import annotations

import polars as pl

from pipelines.preferences.context import contexts
from pipelines.preferences.rows import ROWS, Made, alike, finished, with_hash
from pipelines.preferences.wording import chosen_of, wording

# Raise it when the code here gives other pairs.
QUESTIONNAIRE_VERSION = "1"

DIMENSIONS = ["relevance", "satisfaction"]
# Films of one kind (liked, not liked) of a dialogue that pairs are made of. Real dialogues have a dozen at most.
FILMS_MAX = 40

_FILM = ["dialogue_id", "movie_id"]


def questionnaire(
    turns: pl.DataFrame, feedback: pl.DataFrame, hints: pl.DataFrame, item_links: pl.DataFrame, movies: pl.DataFrame
) -> Made:
    """Pairs of every film that a seeker liked with every film that they did not like.

    turns: core_turns of whole dialogues; feedback: core_feedback, hints: core_mention_hints of them; item_links: core_item_links;
    movies: core_movies. The seeker's own answer counts; the margin is 1 where the recommender's side says the same of both films, .5
    where it did not say. Films about which the sides contradict each other, that are not linked, or that no turn mentions make no
    pair. The context ends before either film is mentioned first.
    """
    answers = _answers(feedback)
    dropped = {"sides contradict each other": answers.filter("is_contradicted").height}
    films = answers.filter(~pl.col("is_contradicted")).join(
        turns.select("dialogue_id").unique(), on="dialogue_id", how="semi"
    )
    links = item_links.filter(pl.col("movie_id").is_not_null() & ~pl.col("is_quarantined")).select(
        "dataset", "item_id", "movie_id"
    )
    linked = films.join(links, on=["dataset", "item_id"]).join(movies.select("movie_id"), on="movie_id", how="semi")
    dropped["film not linked"] = films.height - linked.height
    first = hints.group_by("dialogue_id", "item_id").agg(turn=pl.col("turn").min().cast(pl.Int32))
    mentioned = linked.join(first, on=["dialogue_id", "item_id"])
    dropped["film not mentioned"] = linked.height - mentioned.height
    # One film under two ids is one film, if both were answered alike.
    by_film = mentioned.group_by("dataset", *_FILM).agg(
        pl.col("liked").first(),
        kinds=pl.col("liked").n_unique(),
        margin=pl.col("margin").min(),
        turn=pl.col("turn").min(),
    )
    once = by_film.filter(pl.col("kinds") == 1)
    dropped["film liked and not liked"] = by_film.height - once.height
    ordered = with_hash(once, "hash", *_FILM)
    few = ordered.filter(pl.col("hash").rank("ordinal").over("dialogue_id", "liked") <= FILMS_MAX)
    dropped["film over the bound of its dialogue"] = ordered.height - few.height
    pairs = few.filter("liked").join(few.filter(~pl.col("liked")), on="dialogue_id", suffix="_other")
    pairs = pairs.with_columns(pl.min_horizontal("turn", "turn_other").alias("turn"))
    told = pairs.join(contexts(turns, pairs.select("dialogue_id", "turn")), on=["dialogue_id", "turn"])
    dropped["no seeker before"] = pairs.height - told.height
    rows, alike_count = _rows(told, turns, movies)
    dropped["answers alike"] = alike_count
    return Made(rows, {f"questionnaire: {reason}": number for reason, number in dropped.items() if number})


def _answers(feedback: pl.DataFrame) -> pl.DataFrame:
    """What was answered of each film: dataset, dialogue_id, item_id, liked, margin, is_contradicted."""
    asked = feedback.filter((pl.col("question") == "liked") & (pl.col("item_id") != ""))
    own = ["dataset", "dialogue_id", "item_id"]
    seeker = asked.filter((pl.col("side") == "seeker") & pl.col("value").is_in([0.0, 1.0])).select(*own, "value")
    other = asked.filter(pl.col("side") == "recommender").select(*own, other="value")
    return seeker.join(other, on=own, how="left").select(
        *own,
        liked=pl.col("value") == 1,
        margin=pl.when(pl.col("other") == pl.col("value")).then(1.0).otherwise(0.5),
        is_contradicted=(pl.col("other") != pl.col("value")).fill_null(False),
    )


def _rows(pairs: pl.DataFrame, turns: pl.DataFrame, movies: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    title = pl.col("title").str.replace_all(r"\s+", " ").str.strip_chars()
    titles = movies.select(
        "movie_id",
        name=pl.when(pl.col("year").is_null())
        .then(title)
        .otherwise(pl.concat_str(title, pl.lit(" ("), pl.col("year").cast(pl.String), pl.lit(")"))),
    )
    phrase = chosen_of(wording().suggestions, pl.col("phrase"))
    named = (
        pairs.join(titles, on="movie_id")
        .join(titles.rename({"movie_id": "movie_id_other", "name": "name_other"}), on="movie_id_other")
        .join(turns.select("dialogue_id", "domain").unique("dialogue_id"), on="dialogue_id")
        .sort("dialogue_id", "movie_id", "movie_id_other")
        .pipe(with_hash, "phrase", "dialogue_id", "movie_id", "movie_id_other")
        .with_columns(before=phrase.str.extract(r"^(.*)\{title\}", 1), behind=phrase.str.extract(r"\{title\}(.*)$", 1))
        .with_columns(
            chosen=pl.concat_str("before", "name", "behind"), rejected=pl.concat_str("before", "name_other", "behind")
        )
    )
    ready = named.filter(~alike("chosen", "rejected")).select(
        "dataset",
        "domain",
        "dialogue_id",
        "turn",
        "context",
        "chosen",
        "rejected",
        dimensions=pl.lit(DIMENSIONS, dtype=ROWS["dimensions"]),
        construction=pl.lit("questionnaire"),
        chosen_movie_ids=pl.concat_list("movie_id"),
        rejected_movie_ids=pl.concat_list("movie_id_other"),
        made_by=pl.lit("questionnaire"),
        version=pl.lit(f"{QUESTIONNAIRE_VERSION}.{wording().version}"),
        is_stand_in=pl.lit(False),
        margin=pl.min_horizontal("margin", "margin_other").cast(pl.Float32),
    )
    return finished(ready), named.height - ready.height
