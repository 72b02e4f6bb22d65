"""MUSE: shoppers and an assistant talking about clothes, one conversation a file.

Belongs here: invented clothes and MUSE's files. There are no films in it. Does not belong here: film conversations.
"""

from __future__ import annotations

from random import Random
from typing import Any

import orjson

from pipelines.synth.conversations.course import Sentence, Values
from pipelines.synth.conversations.damage import File, cut_in_half
from pipelines.synth.conversations.phrases import RECOMMENDER, SEEKER, acts, one, wording, words
from pipelines.synth.conversations.truth import Truth

DATASET = "muse"
CONVERSATION_FIRST = 7000
SPEAKERS = {SEEKER: "User", RECOMMENDER: "Assistant"}


def write(count: int, random: Random, truth: Truth) -> list[File]:
    """`count` conversations as MUSE's files, and the profiles that they are about. A conversation's id is its file's name."""
    articles = [_article(random) for _ in range(max(4, 2 * count))]
    files, profiles = [], []
    for at in range(count):
        source_id = f"conv_{CONVERSATION_FIRST + at}"
        target = at
        record, profile, accepted = _conversation(source_id, target, articles, random, truth)
        profiles.append(profile)
        files.append(File(f"muse/detail_convs/{source_id}.json", _pretty(record), 1))
        truth.other_dialogue(DATASET, source_id, len(record["Conversations"]), accepted)
        truth.item(DATASET, str(target), articles[target]["title"], None)
    if files:
        name = f"muse/detail_convs/conv_{CONVERSATION_FIRST + count}.json"
        files.append(File(name, cut_in_half(files[0].content), 0, broken=1))
    files.append(File("muse/user_profiles.json", _pretty(profiles)))
    return files


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def _article(random: Random) -> dict[str, str]:
    garment, material = one(random, words("garment")), one(random, words("material"))
    kind = garment.removeprefix("pair of ").title()
    brand, feature = one(random, words("brand")), one(random, words("feature"))
    return {"title": f"{brand} Women's {material} {kind}", "garment": garment, "feature": feature, "brand": brand}


def _conversation(
    source_id: str, target: int, articles: list[dict[str, str]], random: Random, truth: Truth
) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    wanted = articles[target]
    event = one(random, words("event"))
    person = f"{one(random, words('name'))} {one(random, ('Alder', 'Brook', 'Castell', 'Dunmore', 'Ferris'))}"
    profession, age = one(random, words("profession")), 18 + int(random.random() * 50)
    persona = f"Name: {person}, Gender: {one(random, ('female', 'male'))}, Age: {age}, Profession: {profession}"
    scenario = f"{person} is getting ready for {event} and wants a new {wanted['garment']} with {wanted['feature']}."
    drawn = [one(random, articles) for _ in range(int(random.random() * 3))]
    # What has the wanted feature would not be refused for the lack of it.
    refused = [article for article in drawn if article["feature"] != wanted["feature"]]
    facts: Values = {"event": event, "garment": wanted["garment"], "feature": wanted["feature"]}
    plan: list[tuple[str, str, int | None]] = [("hello", "chit-chat", None), ("occasion", "chit-chat", None)]
    plan += [("ask", "chit-chat", None), ("need", "chit-chat", None)]
    for at, article in enumerate(refused):
        again = "recommend_instead" if at else "recommend"
        plan += [(again, "recommend", articles.index(article)), ("reject", "reject", None)]
        if random.random() < 0.3:
            plan += [("remark", "chit-chat", None), ("chat", "chit-chat", None)]
    plan.append(("recommend_instead" if refused else "recommend", "recommend", target))
    is_accepted = random.random() < 0.85
    plan.append(("accept", "accept", None) if is_accepted else ("reject", "reject", None))
    said = []
    for turn, (name, action, item) in enumerate(plan):
        act = acts("fashion")[name]
        article = articles[item] if item is not None else wanted
        sentence = Sentence(act, {**facts, "item": article["title"], "feature": article["feature"]})
        entry: dict[str, object] = {SPEAKERS[act.role]: _text(sentence, random), "Action": action}
        entry["Mentioned_item"] = [] if item is None else [item]
        entry["Image"] = [] if item is None else [f"images_main/{item}"]
        said.append(entry)
        truth.turn(DATASET, source_id, turn, act.role, act.operations, act.strategy)
    mentioned = list(dict.fromkeys(item for _, _, item in plan if item is not None))
    record: dict[str, Any] = {
        "Persona": persona,
        "Scenario": scenario,
        "Target_item": target,
        "Mentioned_items": mentioned,
        "Conversations": said,
    }
    profile: dict[str, Any] = {
        "profile": persona,
        "scenario": scenario,
        "requirements": f"A {wanted['garment']} with {wanted['feature']}.",
        "target_item": {
            "main_category": "AMAZON FASHION",
            "title": wanted["title"],
            "average_rating": round(3 + 2 * random.random(), 1),
            "rating_number": int(random.random() * 900),
            "features": [wanted["feature"]],
            "description": [scenario],
            "price": "None" if random.random() < 0.3 else f"{10 + 90 * random.random():.2f}",
            "images": f"images_main/{target}.jpg",
            "store": wanted["brand"],
            "categories": ["Clothing, Shoes & Jewelry", "Women"],
            "details": '{"Department": "womens"}',
            "parent_asin": f"B0{target:08d}",
            "new_description": f"{wanted['title']}: {wanted['feature']}.",
            "item_id": target,
        },
    }
    return record, profile, str(target) if is_accepted else None


def _text(sentence: Sentence, random: Random) -> str:
    return "".join(
        part if isinstance(part, str) else str(sentence.values.get(part.name) or one(random, words(part.name)))
        for part in wording(sentence.act, random)
    ).strip()
