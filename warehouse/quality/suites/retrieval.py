"""What is expected of the tables of warehouse/tables/retrieval.py, beyond their contracts.

They may be empty: a warehouse of catalogues alone, where nobody rated or talked about a film, is a sound one.
"""

from __future__ import annotations

from warehouse.quality.suite import Expectation, Suite, all_true, contract_suite, flag, share
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS, ML_ITEM_INDEX

EMBEDDINGS = contract_suite(
    ML_ITEM_EMBEDDINGS,
    all_true(
        "vector_has_length_one", "is_unit", "Vectors have length one, to a thousandth; none holds what is no number."
    ),
    all_true("dimensions_agree", "is_of_equal_size", "All vectors of an encoder have equally many dimensions."),
    share("few_are_cut", "is_cut_short", None, "Few texts are longer than the encoder reads.", maximum=0.2),
    share(
        "few_films_share_a_vector",
        "is_repeated",
        None,
        "Few films have the very vector of another one: their texts would say nothing but a common title.",
        maximum=0.1,
    ),
    derived=(
        flag(
            "is_unit",
            # NaN is greater than any number in DuckDB, so it fails the comparison, too.
            'coalesce(abs(sqrt(list_dot_product("vector", "vector")) - 1) <= 0.001, FALSE)',
            "vector",
        ),
        flag(
            "is_of_equal_size",
            'len("vector") > 0 AND len("vector") = max(len("vector")) OVER (PARTITION BY "encoder")',
            "encoder",
            "vector",
        ),
        flag("is_cut_short", '"is_cut"', "is_cut"),
        flag(
            "is_repeated",
            'row_number() OVER (PARTITION BY "encoder", "text_hash" ORDER BY "movie_id") > 1',
            "encoder",
            "movie_id",
            "text_hash",
        ),
    ),
)

INDEX = contract_suite(
    ML_ITEM_INDEX,
    all_true("files_are_together", "are_together", "Index and ids lie in one folder, which was written as a whole."),
    all_true("exact_where_flat", "is_exact", "A flat index finds all that exact search finds, but for ties."),
    Expectation(
        "recall",
        "expect_column_min_to_be_between",
        {"column": "recall_25_share", "min_value": 0.9},
        "WARN",
        "An index finds nine tenths of the 25 nearest films.",
    ),
    share(
        "faster_than_exact",
        "is_faster",
        1,
        "An index that is not flat is faster than exact search: else it is for nothing.",
    ),
    derived=(
        flag(
            "are_together",
            "regexp_replace(\"path\", '[^/]+$', '') = regexp_replace(\"ids_path\", '[^/]+$', '')",
            "path",
            "ids_path",
        ),
        flag("is_exact", '"kind" <> \'flat\' OR "recall_25_share" >= 0.999', "kind", "recall_25_share"),
        flag(
            "is_faster",
            '"kind" = \'flat\' OR "latency_p50_ms" < "exact_p50_ms"',
            "kind",
            "latency_p50_ms",
            "exact_p50_ms",
        ),
    ),
)

SUITES: tuple[Suite, ...] = (EMBEDDINGS, INDEX)
