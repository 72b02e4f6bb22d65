"""Wikipedia's lists of American films as the wikipedia-movie-data project publishes them: one JSON array a
decade.

Belongs here: that project's keys and quirks. Does not belong here: DBpedia.
"""

from __future__ import annotations

from urllib.parse import quote

import polars as pl

from pipelines.synth.catalogues.base import Catalogue, Part, about, some, words
from pipelines.synth.draw import Stream
from pipelines.synth.formats import JSON
from pipelines.synth.noise import blanked

SAFE = "_(),'!*~$:-."
DEBRIS = ["and", ".", "]"]


def hrefs(articles: pl.Series) -> pl.Series:
    """Names of articles, percent-encoded as in links."""
    return pl.Series([quote(article, safe=SAFE) for article in articles.to_list()], dtype=pl.String)


def _render(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = records.with_columns(pl.col("year").clip(1900, 2029)).sort("year", "title", "film")
    n = records.height
    genre_words = words("wikipedia_words", "genres")
    made_by = pl.when(pl.col("directors").list.len() > 0).then(
        pl.format(" directed by {}", pl.col("directors").list.join(" and "))
    )
    starring = pl.when(pl.col("cast").list.len() > 1).then(
        pl.format(" and starring {}", pl.col("cast").list.head(3).list.join(", "))
    )
    extract = pl.concat_str(
        pl.format(
            "{} is a {} American {} film",
            "title",
            "year",
            genre_words.list.first().str.to_lowercase().fill_null(""),
        ),
        made_by.fill_null(""),
        starring.fill_null(""),
        pl.lit(". "),
        "plot",
    )
    none = pl.lit([], dtype=pl.List(pl.String))
    debris = pl.concat_list("cast", pl.lit(pl.Series(DEBRIS * (n // len(DEBRIS) + 1), dtype=pl.String).head(n)))
    frame = records.select(
        title="title",
        year="year",
        cast=pl.when(some(records, 0.024, random))
        .then(none)
        .when(some(records, 0.01, random))
        .then(debris)
        .otherwise(pl.col("cast")),
        genres=pl.when(some(records, 0.016, random)).then(none).otherwise(genre_words),
        href=blanked(pl.lit(hrefs(records["article"])), 0.047, n, random),
        extract=blanked(extract, 0.048, n, random),
    )
    # The files give no id: a record is known by its title and year.
    slug = pl.col("title").str.normalize("NFC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "-")
    records = records.with_columns(made=pl.format("{}-{}", slug.str.strip_chars("-"), "year"))
    turn = pl.int_range(pl.len()).over("made")
    made = pl.when(turn > 0).then(pl.format("{}#{}", "made", turn + 1)).otherwise("made")
    truth = about(records, made).with_columns(decade=pl.col("year") // 10 * 10)
    return [
        Part(
            f"wikipedia-movie-data/movies-{decade}s.json",
            JSON,
            frame.filter(truth["decade"] == decade),
            truth.filter(pl.col("decade") == decade).drop("decade"),
            edited="extract",
            optional=("extract",),
        )
        for decade in truth["decade"].unique().sort()
    ]


CATALOGUE = Catalogue(
    name="wikipedia",
    share=0.15,
    render=_render,
    title_rate=0.05,
    year_rate=0.035,
    steepness=5.0,
    eligible=pl.col("year").is_between(1900, 2025) & (pl.col("countries").list.first() == "US"),
)
