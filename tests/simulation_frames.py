"""Frames of simulated conversations for tests: every stored table of warehouse/tables/simulation.py and simulation_evaluation.py, made by hand.

`frames()` gives frames that satisfy the contracts and whose foreign keys hold, `llm_calls` beside them; the same arguments give the same frames. What is said is nonsense that looks like a
conversation; figures follow from the rows where that is easy, their intervals are made up. Names and titles are invented.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from warehouse.contracts import Table
from warehouse.tables.llm import LLM_CALLS
from warehouse.tables.simulation import AGENTS, TABLES
from warehouse.tables.simulation_evaluation import TABLES as EVALUATION_TABLES

STORED: tuple[Table, ...] = (*(table for table in TABLES if table.sql is None), *EVALUATION_TABLES, LLM_CALLS)

_TURN_LIMIT = 5
_FIRST = ("Amber", "Broken", "Crimson", "Distant", "Empty", "Frozen", "Golden", "Hidden", "Iron", "Jagged")
_SECOND = ("Harbour", "Lantern", "Meadow", "Orchard", "Passage", "River", "Station", "Tower", "Valley", "Winter")
_WORDS = {
    "film": ("film", "watch", ("thriller", "comedy", "drama", "western")),
    "book": ("book", "read", ("mystery", "fantasy", "romance", "history")),
}
_SOURCES = {"film": "dialogues", "book": "amazon_reviews_2023"}
_TRAITS = {
    "activities": ("efficiency oriented: wants one good answer", "detail oriented: asks back", "exploration oriented: likes surprises"),
    "information_density": ("says little at once", "says everything at once"),
    "expression_style": ("plain words", "pictures and comparisons", "lists"),
    "tone": ("warm", "dry", "impatient"),
    "orientations": ("what friends liked", "craft", "a good ending", "nothing too long"),
}  # fmt: skip


def hash16(*parts: object) -> str:
    """Sixteen digits for what an id follows from."""
    return request_hash(*parts)[:16]


def request_hash(*parts: object) -> str:
    """A request's hash, as in llm_calls."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def input_hash(*parts: object) -> int:
    """A number for what something was made from."""
    return int(hash16(*parts)[:15], 16)


def frames(users: int = 6, is_stand_in: bool = True, seed: int = 0) -> dict[str, pl.DataFrame]:
    """All tables by name: `users` a domain (films and books), two tasks a user, every agent, AILO everywhere and RSO's seeker for films."""
    made = _Rows(random.Random(seed), users, is_stand_in)
    made.everything()
    return {table.name: table.check(_frame(table, made.rows[table.name])) for table in STORED}


def empty() -> dict[str, pl.DataFrame]:
    """The same tables without rows."""
    return {table.name: table.empty() for table in STORED}


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in table.schema} for row in rows], schema=table.schema)


class _Rows:
    """Rows of all tables, made one table after the other from one stream of chance."""

    def __init__(self, chance: random.Random, users: int, is_stand_in: bool) -> None:
        self.chance = chance
        self.users = users
        self.by = {"model": "stand-in" if is_stand_in else "some-model", "is_stand_in": is_stand_in}
        self.rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in STORED}
        self.calls = 0

    def add(self, table: str, **row: Any) -> dict[str, Any]:
        self.rows[table].append(row)
        return row

    def everything(self) -> None:
        for domain in _WORDS:
            self.items(domain)
            for number in range(self.users):
                self.user(domain, number)
            self.file(domain)
        self.similarities()
        for task in list(self.rows["sim_tasks"]):
            for agent in AGENTS:
                self.episode(task, agent, "ailo")
            for agent in ("chatrec", "actcrs") if task["domain"] == "film" else ():
                self.episode(task, agent, "seeker")
        self.judge()
        self.measure()
        self.compare_with_people()
        self.add(
            "report_simulation", name="simulation", path="files/report_simulation/" + "0" * 32 + "/simulation.html", sha256="0" * 64, bytes=1,
            figures=0, made_from="{}",
        )  # fmt: skip

    # -- who and what -----------------------------------------------------------------------------------------

    def items(self, domain: str) -> None:
        _, _, categories = _WORDS[domain]
        for number in range(30):
            title = f"The {_FIRST[number % 10]} {_SECOND[(number * 3 + number // 10) % 10]}"
            item_id = f"mv{number:016x}" if domain == "film" else f"b{number:04}"
            category = categories[number % len(categories)]
            text = f"Title: {title}\nCategory: {category}\nYear: {1960 + number}"
            about = {
                "domain": domain, "item_id": item_id, "title": title, "categories": [category], "creators": [f"A. {_SECOND[number % 10]}"],
                "average_rating": 3 + number % 20 / 10, "ratings": 10 * number + 1,
            }  # fmt: skip
            self.add("sim_items", **about, text=text, text_hash=input_hash(text))
            if domain != "film":
                self.add(
                    "core_review_items", **about, source=_SOURCES[domain], file=f"{domain}/items.jsonl", line=number + 1
                )
                vector = [self.chance.gauss(0, 1) for _ in range(8)]
                length = math.sqrt(sum(value * value for value in vector))
                self.add(
                    "ml_sim_embeddings", encoder="minilm", domain=domain, item_id=item_id, text_hash=input_hash("minilm", text),
                    vector=[value / length for value in vector],
                )  # fmt: skip

    def user(self, domain: str, number: int) -> None:
        source = _SOURCES[domain]
        user_id = f"{source}-u{number}"
        split = "train" if number % 2 == 0 else "test"
        liked = self.chance.sample([row for row in self.rows["sim_items"] if row["domain"] == domain], 6)
        reviews = []
        for position, item in enumerate(liked):
            review_id = hash16("review", source, user_id, item["item_id"], position)
            is_positive = position < 4
            reviews.append(review_id)
            self.add(
                "core_reviews", review_id=review_id, source=source, domain=domain, user_id=user_id, position=position, item_id=item["item_id"],
                headline="Good" if is_positive else None, text="I liked it." if is_positive else "Not for me.", rating=5 if is_positive else 2,
                is_positive=is_positive, reviewed_at=datetime(2024, 1, 1 + position), file=f"{domain}/reviews.jsonl", line=number * 6 + position + 1,
                content_hash=input_hash(review_id),
            )  # fmt: skip
        persona_id = self.persona(domain, user_id, "inferred", reviews)
        self.persona(domain, user_id, "random", [])
        is_released = domain == "book"
        for place, item in enumerate(liked[:2]):
            # Every third user stands in both parts of the release.
            released_split = ("train", "test")[(number + place * (number % 3 == 0)) % 2] if is_released else None
            self.add(
                "sim_tasks", task_id=hash16("task", domain, user_id, item["item_id"]), domain=domain, user_id=user_id, persona_id=persona_id,
                target_item=item["item_id"], split=split, released_split=released_split, is_user_in_both=is_released and number % 3 == 0,
                position=number * 2 + place if is_released else None,
            )  # fmt: skip
            if is_released:
                self.add(
                    "core_review_tasks", source=source, domain=domain, user_id=user_id, item_id=item["item_id"], released_split=released_split,
                    position=number * 2 + place, **self.traits(domain), file=f"{domain}/tasks.jsonl", line=number * 2 + place + 1,
                )  # fmt: skip

    def traits(self, domain: str) -> dict[str, str]:
        """Traits put together from few phrases, as one that is drawn at random has them."""
        _, verb, categories = _WORDS[domain]
        interests = f"likes to {verb} a good {self.chance.choice(categories)}"
        return {name: self.chance.choice(values) for name, values in _TRAITS.items()} | {"interests": interests}

    def persona(self, domain: str, user_id: str, origin: str, reviews: list[str]) -> str:
        persona_id = hash16("persona", domain, user_id, origin)
        traits = self.traits(domain)
        is_asked = origin == "inferred"
        asked = request_hash("persona", persona_id)
        if is_asked:
            self.called(asked, "persona")
            own = [f"{self.chance.choice(_FIRST).lower()} {self.chance.choice(_SECOND).lower()}" for _ in traits]
            traits = {name: f"{value}, {more}" for (name, value), more in zip(traits.items(), own, strict=True)}
        self.add(
            "sim_personas", persona_id=persona_id, domain=domain, user_id=user_id, origin=origin, **traits,
            support=[{"trait": name, "review_id": reviews[place % len(reviews)]} for place, name in enumerate(traits)] if reviews else [],
            reviews=len(reviews), foreign_words=[], max_rouge_l=None, **(self.by if is_asked else {"model": None, "is_stand_in": False}),
            prompt_version="persona@1" if is_asked else None, request_hash=asked if is_asked else None, input_hash=input_hash(persona_id),
        )  # fmt: skip
        return persona_id

    def similarities(self) -> None:
        """The largest share of words that two personas have in common: about what ROUGE-L says of such short texts."""
        personas = self.rows["sim_personas"]
        words = [set(" ".join(row[name] for name in _TRAITS).split()) for row in personas]
        for at, row in enumerate(personas):
            others = [
                2 * len(words[at] & words[other]) / (len(words[at]) + len(words[other]))
                for other, each in enumerate(personas)
                if other != at and (each["domain"], each["origin"]) == (row["domain"], row["origin"])
            ]
            row["max_rouge_l"] = max(others, default=None)

    def file(self, domain: str) -> None:
        kept = sum(row["domain"] == domain for row in self.rows["core_reviews"])
        self.add(
            "meta_review_files", file=f"{domain}/reviews.jsonl", source=_SOURCES[domain], layout=_SOURCES[domain], domain=domain, size_bytes=1000,
            mtime_ns=1, sha256=request_hash(domain), rows=kept + 1, rows_kept=kept, rows_rejected=1, rejects=["line 99: no user: {}"],
            reader_version="1",
        )  # fmt: skip

    # -- what is said -----------------------------------------------------------------------------------------

    def episode(self, task: dict[str, Any], agent: str, simulator: str) -> None:
        episode_id = hash16("episode", task["task_id"], agent, simulator, 0)
        number = len(self.rows["sim_episodes"])
        outcome = (
            "leaked"
            if number % 17 == 16
            else "failed"
            if number % 23 == 22
            else "left"
            if number % 9 == 8
            else "completed"
        )
        success_turn = self.chance.choice((2, 3, 4, None, None)) if outcome == "completed" else None
        length = {"leaked": 1, "failed": 2, "left": 3}.get(outcome, success_turn or _TURN_LIMIT)
        target = self.item(task["domain"], task["target_item"])
        head = {"episode_id": episode_id, "domain": task["domain"], "agent": agent}
        about = {**head, "simulator": simulator, "split": task["split"], "user_id": task["user_id"]}
        calls = _Numbered(self, "episode", episode_id, task["domain"])
        turns: list[dict[str, Any]] = []
        for at in range(length):
            is_last = at == length - 1
            move = self.move(at, is_last, outcome, target["title"], task["domain"])
            turns.append(
                self.add("sim_turns", **head, turn=2 * at, role="user", queries=[], retrieved=[], feelings=[], **move)
            )
            calls.asked("policy", 2 * at, f"{simulator}_policy@1")
            calls.asked("utterance", 2 * at, f"{simulator}_utterance@1")
            if outcome in ("leaked", "failed") and is_last:
                break
            reply = self.reply(at, success_turn, target, task["domain"], simulator)
            turns.append(self.add("sim_turns", **head, turn=2 * at + 1, role="assistant", **reply))
            for _ in range(2 if agent in ("react", "macrs") else 1):
                calls.asked("agent", 2 * at + 1, f"agent_{agent}@1")
            calls.asked("confirmation", 2 * at + 1, "confirmation@1")
            if simulator == "seeker":
                calls.asked("feeling", 2 * at + 1, "feeling@1")
        replies = [row for row in turns if row["role"] == "assistant"]
        scores = [row["satisfaction"] for row in replies if row["satisfaction"] is not None]
        problems = {"leaked": "the user named the target in turn 0", "failed": "agent/3: no usable answer in 3 tries"}
        self.add(
            "sim_episodes", **about, task_id=task["task_id"], sample=0, persona_id=task["persona_id"], target_item=task["target_item"],
            target_title=target["title"], profile='{"age": "30s", "traits": ["open"]}' if simulator == "seeker" else None, outcome=outcome,
            problem=problems.get(outcome), is_success=success_turn is not None,
            is_retrieved=any(task["target_item"] in row["retrieved"] for row in replies),
            is_accepted=success_turn is not None and number % 4 != 0,
            is_stopped=success_turn is not None if simulator == "seeker" else None, success_turn=success_turn, agent_turns=len(replies),
            turn_limit=_TURN_LIMIT, satisfaction_mean=sum(scores) / len(scores) if scores else None, questions=calls.number, **self.by,
            prompt_version=f"{simulator}_policy@1 {simulator}_utterance@1 agent_{agent}@1 confirmation@1", input_hash=input_hash(episode_id),
        )  # fmt: skip
        if outcome in ("completed", "left") and task["split"] == "train" and simulator == "ailo":
            self.pairs(about, turns, success_turn is not None)

    def move(self, at: int, is_last: bool, outcome: str, title: str, domain: str) -> dict[str, Any]:
        noun, verb, categories = _WORDS[domain]
        policy = self.chance.choice(("answer_question", "give_feedback", "refuse"))
        if at == 0:
            policy = "ask_for_recommendation"
        elif is_last and outcome == "left":
            policy = "leave"
        texts = {
            "ask_for_recommendation": f"Hi, I would like to {verb} a good {self.chance.choice(categories)}.",
            "answer_question": "Something slow, and not too sad.",
            "give_feedback": "Close, but I had hoped for more of a story.",
            "refuse": "No, that is not for me.",
            "leave": "This leads nowhere. Goodbye.",
        }
        text = f"I want {title}." if outcome == "leaked" else texts[policy]
        return {"policy": policy, "text": text, "reasoning": f"I still look for a {noun}."}

    def reply(
        self, at: int, success_turn: int | None, target: dict[str, Any], domain: str, simulator: str
    ) -> dict[str, Any]:
        noun, _, categories = _WORDS[domain]
        others = [
            row for row in self.rows["sim_items"] if row["domain"] == domain and row["item_id"] != target["item_id"]
        ]
        is_found = success_turn == at + 1
        action = "recommend" if is_found else "ask" if at == 0 else self.chance.choice(("recommend", "respond", "ask"))
        retrieved = self.chance.sample(others, 5) if action == "recommend" else []
        if is_found or (action == "recommend" and self.chance.random() < 0.1):
            retrieved = [target, *retrieved[:4]]
        shown = target if is_found else next((row for row in retrieved if row is not target), None)
        text = {
            "ask": f"What kind of {noun} do you have in mind?",
            "recommend": f"How about {shown['title']}? It is a {shown['categories'][0]}." if shown else "",
            "respond": f"I see. A {noun} like that can take its time.",
        }[action]
        feelings = (
            [self.chance.choice(("reluctant", "neutral", "interested")) for _ in range(3)]
            if simulator == "seeker"
            else []
        )
        values = {"reluctant": 0.2, "neutral": 0.6, "interested": 0.8}
        return {
            "text": text, "action": action, "reasoning": "The user has not said enough yet." if action == "ask" else "This fits what was said.",
            "queries": [f"{categories[0]} {noun}"] if retrieved else [], "retrieved": [row["item_id"] for row in retrieved],
            "state": '{"profile": []}', **self.parts(is_found), "feelings": feelings,
            "feeling": sum(values[name] for name in feelings) / len(feelings) if feelings else None,
        }  # fmt: skip

    def parts(self, is_good: bool) -> dict[str, Any]:
        """Scores of a turn; one in thirty cannot be had."""
        if self.chance.random() < 1 / 30:
            return {"satisfaction": None, "reason": None, "confirmations": 0, "malformed": 1}
        flexibility, coherence = (self.chance.choice((1.0, 2.0) if is_good else (0.0, 1.0, 1.0, 2.0)) for _ in range(2))
        guidance = self.chance.choice((1.0,) if is_good else (0.0, 0.0, 1.0))
        reason = f"Flexibility {flexibility:g}: it heeds what I said. Coherence {coherence:g}: it follows. Guidance {guidance:g}: it leads on."
        return {
            "flexibility": flexibility, "coherence": coherence, "guidance": guidance, "satisfaction": flexibility + coherence + guidance,
            "reason": reason, "confirmations": 1, "malformed": 0,
        }  # fmt: skip

    # -- what is made of it -----------------------------------------------------------------------------------

    def pairs(self, about: dict[str, Any], turns: list[dict[str, Any]], is_success: bool) -> None:
        messages = [{"role": row["role"], "content": row["text"]} for row in turns]
        own = {name: about[name] for name in ("episode_id", "domain", "agent", "split", "user_id")}
        replies = [row for row in turns if row["role"] == "assistant"]
        for row in replies:
            context = messages[: row["turn"]]
            if is_success:
                completion = f"{row['reasoning']}\n{row['text']}"
                self.add(
                    "pref_trajectories",
                    **own,
                    turn=row["turn"],
                    prompt=context,
                    completion=completion,
                    response=row["text"],
                    **self.by,
                )
            if row["satisfaction"] is not None and row["satisfaction"] <= 4:
                self.rewrite(about, row, context, is_success)
        self.branch(own, replies[0], messages[: replies[0]["turn"]])

    def rewrite(
        self, about: dict[str, Any], row: dict[str, Any], context: list[dict[str, str]], is_success: bool
    ) -> None:
        number = len(self.rows["pref_ecpo_pairs"])
        pair_id = hash16("pair", about["episode_id"], row["turn"], "rewrite@1")
        status = ("same", "too_far", "unknown_title", "no_answer")[number // 7 % 4] if number % 7 == 6 else "kept"
        calls = _Numbered(self, "ecpo", pair_id, about["domain"])
        calls.asked("rewrite", row["turn"], "rewrite@1")
        after = None
        if status == "kept":
            calls.asked("confirm_rewrite", row["turn"], "confirmation@1")
            after = min(5.0, max(0.0, row["satisfaction"] + self.chance.choice((-1, 0, 1, 1, 2))))
        rewritten = {
            "kept": f"{row['text']} Tell me if you would rather have something else.",
            "same": row["text"],
            "no_answer": None,
        }
        text = rewritten.get(status, "Something else altogether.")
        distance = {"same": 0.0, "no_answer": None}.get(status, round(self.chance.uniform(0.1, 0.6), 3))
        self.add(
            "pref_ecpo_pairs", pair_id=pair_id, **about, turn=row["turn"], context=context, original=row["text"], rewritten=text,
            reason=row["reason"], reasoning="It should leave the user a choice.", action_type=row["action"], score_before=row["satisfaction"],
            score_after=after, is_improved=None if after is None else after > row["satisfaction"], rewrite_distance=distance, status=status,
            retrieved=row["retrieved"], is_success=is_success, judge_prompt_version="confirmation@1", **self.by, prompt_version="rewrite@1",
            input_hash=input_hash(pair_id),
        )  # fmt: skip

    def branch(self, own: dict[str, Any], row: dict[str, Any], context: list[dict[str, str]]) -> None:
        pair_id = hash16("tree", own["episode_id"], row["turn"])
        rewards = [float(self.chance.randrange(6)) for _ in range(3)]
        replies = [f"{row['text']} ({number})" for number in range(3)]
        calls = _Numbered(self, "tree", pair_id, own["domain"])
        for _ in range(5 * len(replies)):
            calls.asked("branch", row["turn"], "agent_actcrs@1")
        is_even = len(set(rewards)) == 1
        self.add(
            "pref_tree_pairs", pair_id=pair_id, **own, turn=row["turn"], context=context,
            chosen=None if is_even else replies[rewards.index(max(rewards))], rejected=None if is_even else replies[rewards.index(min(rewards))],
            rewards=rewards, replies=replies, trajectories=len(replies), **self.by, input_hash=input_hash(pair_id),
        )  # fmt: skip

    # -- what is measured -------------------------------------------------------------------------------------

    def judge(self) -> None:
        episodes = [row for row in self.rows["sim_episodes"] if row["outcome"] != "leaked" and row["split"] == "test"]
        experts = {(row["task_id"], row["simulator"]): row for row in episodes if row["agent"] == "actcrs"}
        for row in episodes:
            other = experts.get((row["task_id"], row["simulator"]))
            if other is not None and other is not row:
                for dimension in ("flexibility", "coherence", "guidance", "overall"):
                    for is_first in (True, False):
                        # Who is shown first wins a little more often.
                        value = self.chance.choice((-1.0, 0.0, 1.0, 1.0) if is_first else (-1.0, -1.0, 0.0, 1.0))
                        self.judgement(
                            row, "win", value, dimension=dimension, against_id=other["episode_id"], is_first=is_first
                        )
            before = float(self.chance.randint(1, 4))
            self.judgement(row, "intention_before", before)
            self.judgement(row, "intention_after", float(min(5, before + self.chance.randint(0, 1))))
            self.judgement(row, "intention_true", float(min(5, before + self.chance.randint(0, 2))))
            if row["is_success"]:
                self.judgement(row, "credibility", float(self.chance.randint(2, 5)), turn=2 * row["success_turn"] - 1)

    def judgement(self, row: dict[str, Any], measure: str, value: float, **about: Any) -> None:
        judgement_id = hash16("judgement", row["episode_id"], measure, *about.values())
        asked = request_hash(judgement_id)
        is_lost = len(self.rows["sim_judgements"]) % 40 == 39
        self.called(asked, f"judge_{measure}")
        self.add(
            "sim_judgements", judgement_id=judgement_id, **{name: row[name] for name in ("episode_id", "domain", "agent", "simulator")},
            measure=measure, value=None if is_lost else value, reason=None if is_lost else "It listens.",
            problem="no usable answer in 3 tries" if is_lost else None, **self.by, prompt_version=f"judge_{measure}@1", request_hash=asked, **about,
        )  # fmt: skip

    def measure(self) -> None:
        """Figures of agents; values follow from the rows, intervals are made up."""
        lost = "leaked: the user named the target first"
        for domain, agent, simulator, rows in self.arms():
            counted = [row for row in rows if row["outcome"] != "leaked"]
            leaked = len(rows) - len(counted)
            own = {row["episode_id"] for row in rows}
            said = [
                row["satisfaction"]
                for row in self.rows["sim_turns"]
                if row["episode_id"] in own and row["role"] == "assistant"
            ]
            judged = [row for row in self.rows["sim_judgements"] if row["episode_id"] in own]
            figure = _Figures(self, domain, agent, simulator)
            figure.add("success", [row["is_success"] for row in counted], leaked, lost)
            figure.add("retrieved", [row["is_retrieved"] for row in counted], leaked, lost)
            turns = [row["success_turn"] for row in counted]
            figure.add("turns_to_success", turns, leaked, "without success", highest=5)
            figure.add("satisfaction", said, 0, "without a usable score", highest=5)
            for dimension in ("overall", "flexibility", "coherence", "guidance"):
                values = [row["value"] for row in judged if row.get("dimension") == dimension]
                wins = [None if value is None else (value + 1) / 2 for value in values]
                tail = "" if dimension == "overall" else f"_{dimension}"
                figure.add(f"win_rate{tail}", wins, 0, "without a usable answer")
                figure.add(f"tie_rate{tail}", [each == 0.5 for each in wins if each is not None], 0, "")
                figure.add(f"position_bias{tail}", [at % 3 == 0 for at in range(len(wins))], 0, "")
            for measure in ("intention_before", "intention_after", "intention_true", "credibility"):
                values = [row["value"] for row in judged if row["measure"] == measure]
                name = "watching_intention" if measure == "intention_after" else measure
                figure.add(name, values, 0, "without a usable answer", highest=5)
            figure.add("persuasiveness", [0.4] * len(counted), leaked, "with full facts nothing changes")
            if simulator == "seeker":
                figure.add("conv_sr", [row["is_stopped"] for row in counted], leaked, lost)
                figure.add("rec_sr", [row["is_accepted"] for row in counted], leaked, lost)
        for domain in _WORDS:
            _Figures(self, domain, "chance", "ailo").add("success", [0.05] * 10, 0, "")
        self.costs()

    def costs(self) -> None:
        """What was asked, and what came of it."""
        made = {
            "ecpo": [row for row in self.rows["pref_ecpo_pairs"] if row["status"] == "kept"],
            "tree": [row for row in self.rows["pref_tree_pairs"] if row["chosen"] is not None],
        }
        played = {"ecpo": lambda row: 1 / 3, "tree": lambda row: row["trajectories"]}
        for domain in ("all", *_WORDS):
            for method in ("episode", "ecpo", "tree"):
                asked = sum(
                    row["method"] == method and domain in ("all", row["domain"]) for row in self.rows["sim_calls"]
                )
                values = {"questions": asked, "tokens": 360 * asked, "usd": 0.0005 * asked}
                if method in made:
                    own = [row for row in made[method] if domain in ("all", row["domain"])]
                    values |= {f"{name}_per_pair": value / len(own) for name, value in values.items()}
                    values |= {"pairs": len(own), "trajectories": sum(map(played[method], own))}
                for name, value in values.items():
                    self.add(
                        "eval_simulation", domain=domain, agent="all", simulator="all", split="all", measure=f"{method}_{name}", value=float(value),
                        n=asked, invalid=0, clusters=0, clustered_by="episode", protocol="counted", **self.by,
                    )  # fmt: skip

    def arms(self) -> Iterator[tuple[str, str, str, list[dict[str, Any]]]]:
        """Episodes of the test split by domain, agent and simulator."""
        episodes = [row for row in self.rows["sim_episodes"] if row["split"] == "test"]
        for key in sorted({(row["domain"], row["agent"], row["simulator"]) for row in episodes}):
            yield *key, [row for row in episodes if (row["domain"], row["agent"], row["simulator"]) == key]

    def compare_with_people(self) -> None:
        people = (
            ("redial", "human", 1.0),
            ("inspired", "human", 1.1),
            ("ailo film", "simulated", 0.8),
            ("seeker film", "simulated", 1.6),
        )
        for measure, human in (
            ("words_per_turn", 9.0),
            ("question_rate", 0.3),
            ("acceptance_rate", 0.4),
            ("titles_per_turn", 0.5),
        ):
            for population, kind, shift in people:
                value = human * shift
                self.add(
                    "eval_simulator_fidelity", population=population, kind=kind, measure=measure, value=value, low=value * 0.9, high=value * 1.1, n=200,
                    clusters=40, distance=0.3 if kind == "simulated" else None, is_stand_in=self.by["is_stand_in"] and kind == "simulated",
                    protocol="turns of seekers; bootstrap by dialogue",
                )  # fmt: skip

    # -- the ledger -------------------------------------------------------------------------------------------

    def called(self, asked: str, prompt: str) -> None:
        self.calls += 1
        self.add(
            "llm_calls", call_id=f"call-{self.calls}", request_hash=asked, attempt=1, prompt=prompt, prompt_version="1", **self.by,
            prompt_tokens=300, completion_tokens=60, cost_usd=0.0005, latency_s=0.2, outcome="answered", http_status=200, error=None,
            started_at=datetime(2026, 1, 1) + timedelta(seconds=self.calls),
        )  # fmt: skip

    def item(self, domain: str, item_id: str) -> dict[str, Any]:
        return next(row for row in self.rows["sim_items"] if (row["domain"], row["item_id"]) == (domain, item_id))


class _Numbered:
    """Questions of one owner, numbered."""

    def __init__(self, made: _Rows, method: str, owner_id: str, domain: str) -> None:
        self.made, self.method, self.owner_id, self.domain = made, method, owner_id, domain
        self.number = 0

    def asked(self, purpose: str, turn: int, prompt_version: str) -> None:
        asked = request_hash(self.method, self.owner_id, self.number)
        self.made.called(asked, prompt_version.partition("@")[0])
        self.made.add(
            "sim_calls", method=self.method, owner_id=self.owner_id, number=self.number, domain=self.domain, purpose=purpose, turn=turn,
            prompt_version=prompt_version, request_hash=asked, outcome="answered",
        )  # fmt: skip
        self.number += 1


class _Figures:
    """Rows of eval_simulation of one agent, for the test split: means of values, those that are None left out."""

    def __init__(self, made: _Rows, domain: str, agent: str, simulator: str) -> None:
        self.made, self.head = made, {"domain": domain, "agent": agent, "simulator": simulator, "split": "test"}
        self.is_baseline = agent not in AGENTS

    def add(self, measure: str, values: list[Any], left_out: int, why: str, highest: float = 1) -> None:
        known = [float(value) for value in values if value is not None]
        invalid = left_out + len(values) - len(known)
        value = sum(known) / len(known) if known else None
        spread = 0.1 * highest
        self.made.add(
            "eval_simulation", **self.head, measure=measure, value=value, low=None if value is None else max(0.0, value - spread),
            high=None if value is None else min(highest, value + spread), n=len(known), invalid=invalid,
            invalid_reason=f"{invalid:,} {why}" if invalid else None, clusters=len(known) // 2, clustered_by="target",
            is_stand_in=self.made.by["is_stand_in"] and not self.is_baseline, model=None if self.is_baseline else self.made.by["model"],
            protocol="mean over what counts; cluster bootstrap",
        )  # fmt: skip
