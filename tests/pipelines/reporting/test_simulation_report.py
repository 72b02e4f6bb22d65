"""The report on simulated users: what stands in it follows from the frames, what is missing is said, text is text, nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl
import pytest

from pipelines.reporting import plots, simulation_agents, simulation_data
from pipelines.reporting.simulation import examples, page
from pipelines.reporting.transcripts import titles
from tests import simulation_frames

Frames = dict[str, pl.DataFrame]
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}{% raw %}&amp;</section>\x1b[2J\u202e"


@pytest.fixture(scope="module")
def frames() -> Frames:
    return simulation_frames.frames()


@pytest.fixture(scope="module")
def html(frames: Frames) -> str:
    """The page as it is; drawing its plots takes most of the time."""
    return page(frames, titles(frames["sim_items"])).html


@pytest.fixture(autouse=True)
def _undrawn(html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that a test makes have empty plots in place of drawn ones."""
    monkeypatch.setattr(plots, "drawn", lambda *_: "<svg></svg>")


class Elements(HTMLParser):
    """Tables as rows of texts by the headline over them, all text, and every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._headline: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)
        if tag == "h2":
            self._headline = []
        elif tag == "tr":
            self.tables.setdefault("".join(self._headline), []).append([])
        elif tag in ("td", "th"):
            self._rows()[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "h2" in self._open:
            self._headline.append(data)
        elif "td" in self._open or "th" in self._open:
            self._rows()[-1][-1] += data

    def _rows(self) -> list[list[str]]:
        return self.tables["".join(self._headline)]


def table(html: str, headline: str, over: str | None = None) -> list[dict[str, str]]:
    """Rows of the table under `headline`; only those under `over`, the beginning of a headline inside the table, where that is given."""
    head, *rows = Elements(html).tables[headline]
    found, group = [], ""
    for row in rows:
        if len(row) == 1:
            group = row[0]
        elif over is None or group.startswith(over):
            found.append(dict(zip(head, row, strict=True)))
    return found


def test_agents_stand_in_order_of_success_with_interval_and_n_and_baselines_last(frames: Frames, html: str) -> None:
    rows = table(html, "Agents", "films, AILO")
    place = (pl.col("domain") == "film") & (pl.col("simulator") == "ailo") & (pl.col("measure") == "success")
    values = {row["agent"]: row for row in frames["eval_simulation"].filter(place).iter_rows(named=True)}
    names = {"actcrs": "ActCRS", "chatrec": "ChatRec", "macrs": "MACRS", "react": "ReAct"}
    order = sorted(names, key=lambda agent: (-values[agent]["value"], agent))
    assert [row["Agent"] for row in rows] == [*(names[agent] for agent in order), "chance (baseline)"]
    best = values[order[0]]
    assert rows[0]["SR"] == f"{best['value']:.2f}{best['low']:.2f} – {best['high']:.2f}, n = {best['n']}"
    assert rows[-1]["R"] == "–"


def test_the_test_split_is_shown_and_all_where_there_is_none(frames: Frames) -> None:
    numbers = frames["eval_simulation"]
    both = pl.concat([numbers, numbers.with_columns(split=pl.lit("all"), value=pl.lit(0.125))])
    shown = page({**frames, "eval_simulation": both}, {}).html
    assert "0.12" not in "".join(row["SR"] for row in table(shown, "Agents", "books, AILO"))
    only = page({**frames, "eval_simulation": both.filter(pl.col("split") == "all")}, {}).html
    assert all(row["SR"].startswith("0.12") for row in table(only, "Agents", "books, AILO"))


def test_endings_add_up(frames: Frames, html: str) -> None:
    rows = table(html, "How conversations ended")
    parts = ("Found", "Not found", "User left", "Target leaked", "Failed")
    assert all(int(row["Episodes"]) == sum(int(row[part]) for part in parts) for row in rows)
    assert sum(int(row["Episodes"]) for row in rows) == frames["sim_episodes"].height
    assert sum(int(row["Found"]) for row in rows) == frames["sim_episodes"]["is_success"].sum()
    assert "no usable answer in 3 tries (5)" in html


def test_wins_are_counted_in_both_orders_with_what_the_order_does() -> None:
    frames = simulation_frames.frames()
    episodes = frames["sim_episodes"].filter(pl.col("agent") == "chatrec")["episode_id"].to_list()[:2]
    others = frames["sim_episodes"].filter(pl.col("agent") == "actcrs")["episode_id"].to_list()[:2]
    blank = (
        frames["sim_judgements"]
        .filter((pl.col("measure") == "win") & (pl.col("domain") == "film") & (pl.col("simulator") == "ailo"))
        .head(1)
    )
    # Won in both orders; won when shown first, lost when shown second; no answer.
    given = [(0, True, 1.0), (0, False, 1.0), (1, True, 1.0), (1, False, -1.0), (1, None, None)]
    rows = [
        blank.with_columns(
            episode_id=pl.lit(episodes[at]), against_id=pl.lit(others[at]), agent=pl.lit("chatrec"), dimension=pl.lit("overall"),
            is_first=pl.lit(is_first, pl.Boolean), value=pl.lit(value, pl.Float64),
        )
        for at, is_first, value in given
    ]  # fmt: skip
    (row,) = table(page({**frames, "sim_judgements": pl.concat(rows)}, {}).html, "Judged side by side")
    assert row["Shown first"] == "2 · 0 · 0"
    assert row["Shown second"] == "1 · 0 · 1"
    assert row["No answer"] == "1 of 5"


def test_pairs_by_threshold_count_replies_at_or_under_it(frames: Frames, html: str) -> None:
    rows = table(html, "Pairs by threshold")
    kept = frames["pref_ecpo_pairs"].filter(pl.col("status") == "kept")
    for most in (1, 2, 3, 4):
        assert sum(int(row[f"λ={most}"]) for row in rows) == kept.filter(pl.col("score_before") <= most).height
    improved = [int(row["Improved"].split()[0]) for row in rows]
    assert sum(improved) == kept["is_improved"].sum()
    statuses = {row["Outcome"]: int(row["All"]) for row in table(html, "What rewriting did")}
    assert statuses["kept as a pair"] == kept.height
    assert sum(statuses.values()) == frames["pref_ecpo_pairs"].height


def test_costs_are_those_of_all_domains_and_of_each(frames: Frames, html: str) -> None:
    own = frames["sim_calls"].filter(pl.col("method") == "ecpo")
    pairs = frames["pref_ecpo_pairs"].filter(pl.col("status") == "kept").height
    conversations, ecpo, _ = table(html, "What pairs cost", "all domains")
    assert ecpo["For"].startswith("ECPO")
    assert ecpo["Questions"] == f"{own.height:,}"
    assert ecpo["Tokens"] == f"{own.height * 360:,}"
    assert ecpo["Questions per pair"] == f"{own.height / pairs:.1f}"
    assert conversations["Pairs"] == "–"
    assert len(table(html, "What pairs cost", "book")) == len(table(html, "What pairs cost", "film")) == 3
    one = page({**frames, "eval_simulation": frames["eval_simulation"].filter(pl.col("domain") != "book")}, {}).html
    assert len(table(one, "What pairs cost")) == len(table(one, "What pairs cost", "film")) == 3


def test_users_in_both_splits_are_counted_for_the_release_and_for_ours(frames: Frames, html: str) -> None:
    rows = {(row["Domain"], row["Split"]): row for row in table(html, "Users in both splits")}
    assert set(rows) == {("book", "here"), ("book", "released"), ("film", "here")}
    assert rows["book", "here"]["Users in both"] == "0"
    both = frames["sim_tasks"].filter("is_user_in_both")
    assert rows["book", "released"]["Users in both"] == str(both["user_id"].n_unique())
    shared = both.filter(pl.col("released_split") == "test").height
    assert rows["book", "released"]["Test tasks of users who are also in train"].startswith(f"{shared} of ")


def test_the_stand_in_is_told_first_and_only_where_it_had_a_part(frames: Frames, html: str) -> None:
    words = "No language model answered: these figures say nothing about the methods."
    assert words in html[: html.index('class="tiles"')]
    assert words not in page(simulation_frames.frames(is_stand_in=False), {}).html
    one = simulation_frames.frames(is_stand_in=False)
    mixed = one["pref_ecpo_pairs"].with_columns(is_stand_in=pl.int_range(pl.len()) == 3)
    assert words in page({**one, "pref_ecpo_pairs": mixed}, {}).html


def test_a_page_without_rows_says_what_is_missing() -> None:
    made = page(simulation_frames.empty(), {})
    assert made.figures == 0
    for words in ("No personas", "No episodes", "No pairs of ECPO", "No judgements"):
        assert words in made.html
    assert "<section" not in made.html


@pytest.mark.parametrize("table", sorted(simulation_frames.empty()))
def test_any_one_table_may_be_missing(table: str, frames: Frames) -> None:
    made = page({**frames, table: frames[table].clear()}, {})
    assert made.figures > 5
    assert ("What is missing" in made.html) == (table in _TOLD)


_TOLD = {
    "sim_personas", "sim_tasks", "sim_episodes", "eval_simulation", "sim_judgements", "eval_simulator_fidelity", "pref_ecpo_pairs", "pref_tree_pairs",
}  # fmt: skip


def test_figures_that_could_not_be_measured_are_dashes(frames: Frames) -> None:
    nothing = frames["eval_simulation"].with_columns(value=None, low=None, high=None, n=pl.lit(0, pl.Int64))
    nothing = nothing.cast(dict.fromkeys(("value", "low", "high"), pl.Float64))
    rows = table(page({**frames, "eval_simulation": nothing}, {}).html, "Agents", "films, AILO")
    assert {row["SR"] for row in rows} == {"–"}


def test_hostile_texts_stay_texts(frames: Frames) -> None:
    def poisoned(frame: pl.DataFrame) -> pl.DataFrame:
        kept = {
            "episode_id",
            "persona_id",
            "task_id",
            "request_hash",
            "domain",
            "agent",
            "simulator",
            "split",
            "outcome",
            "measure",
            "status",
            "role",
        }
        kept |= {"policy", "action", "origin", "kind", "method", "released_split", "action_type", "dimension"}
        texts = [name for name, dtype in frame.schema.items() if dtype == pl.String and name not in kept]
        return frame.with_columns(pl.lit(HOSTILE).alias(name) for name in texts)

    dirty = {name: poisoned(frame) for name, frame in frames.items()}
    dirty["eval_simulation"] = dirty["eval_simulation"].with_columns(
        agent=pl.when(pl.col("agent") == "chance").then(pl.lit(HOSTILE)).otherwise("agent")
    )
    hostile = dict.fromkeys(titles(frames["sim_items"]), HOSTILE)
    made = page(dirty, hostile)
    found, clean = Elements(made.html), Elements(page(frames, titles(frames["sim_items"])).html)
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in clean.tags}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert "<script>alert('x')</script>" in found.text
    assert "{{ 7*7 }}" in found.text and "49{% raw" not in found.text
    said = made.html[made.html.index('id="examples"') :]
    assert "\x1b" not in said[: said.index("</section>")]


def test_the_page_needs_nothing_else(html: str) -> None:
    found = Elements(html)
    assert not {"script", "link", "iframe", "img", "object", "embed", "base", "form"} & {tag for tag, _ in found.tags}
    links = [value for _, each in found.tags for key, value in each.items() if key in ("href", "src", "xlink:href")]
    assert links and all(str(link).startswith("#") for link in links)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    anchors = {str(link)[1:] for link in links}
    assert anchors <= set(ids)


def test_the_page_follows_from_the_frames_whatever_their_order(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[object]] = [[], []]
    pages = []
    mixed = {name: frame.sample(fraction=1, shuffle=True, seed=3) for name, frame in frames.items()}
    for at, given in enumerate((frames, mixed)):
        for name in ("bars", "bubbles", "dots", "histograms", "lines", "stacked"):
            for module in (simulation_agents, simulation_data):
                monkeypatch.setattr(
                    module, name, lambda *what, at=at, **how: drawn[at].append((what, how)) or "", raising=False
                )
        pages.append(page(given, titles(given["sim_items"])).html)
    assert pages[0] == pages[1]
    assert len(drawn[0]) > 20
    assert [repr(_sorted(each)) for each in drawn[0]] == [repr(_sorted(each)) for each in drawn[1]]


def _sorted(value: object) -> object:
    """Values of a distribution are drawn as bins: their order is no part of it."""
    if isinstance(value, tuple):
        return tuple(map(_sorted, value))
    if isinstance(value, dict):
        return sorted((key, sorted(each) if isinstance(each, list) else each) for key, each in value.items())
    return value


def test_names_in_plots_are_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    svg = plots.dots([plots.Bar(HOSTILE[:40] + "$\\frac{$", 0.5, 0.4, 0.6)], HOSTILE[:40], "x")
    assert "<script" not in svg and "<img" not in svg
    assert "&lt;script&gt;" in svg and "$\\frac{$" in svg


def test_examples_are_a_success_a_failure_and_a_rewrite_that_scores_higher(frames: Frames) -> None:
    chosen = examples(frames["sim_episodes"], frames["pref_ecpo_pairs"])
    assert list(chosen) == ["A success", "A failure", "A rewrite"]
    assert len(set(chosen.values())) == 3
    rows = {row["episode_id"]: row for row in frames["sim_episodes"].iter_rows(named=True)}
    assert rows[chosen["A success"]]["is_success"] and not rows[chosen["A failure"]]["is_success"]
    better = frames["pref_ecpo_pairs"].filter(pl.col("is_improved") & (pl.col("status") == "kept"))
    assert chosen["A rewrite"] in better["episode_id"].to_list()
    assert examples(frames["sim_episodes"].clear(), frames["pref_ecpo_pairs"].clear()) == {}
