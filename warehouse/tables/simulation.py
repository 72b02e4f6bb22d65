"""Contracts of simulated conversations: who speaks, what they look for, what was said, how satisfying it was, and the pairs made of it.

Source: ECPO (section 2, appendices B and C), RSO (sections III and IV). Does not belong here: figures (`simulation_evaluation.py`).
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, ForeignKey, Table
from warehouse.tables.preferences import MESSAGES
from warehouse.tables.retrieval import VECTOR
from warehouse.tables.titles import STRINGS

# Who is simulated; what was played, partitioned by domain and agent; what the judge said of it.
USERS_GROUP = "users"
EPISODES_GROUP = "episodes"
JUDGEMENTS_GROUP = "judgements"

SIM_DOMAINS = ("film", "book", "game", "business")
REVIEW_SOURCES = ("amazon_reviews_2023", "yelp", "movielens", "dialogues")
AGENTS = ("chatrec", "react", "macrs", "actcrs")
SIMULATORS = ("ailo", "seeker")
SIM_SPLITS = ("train", "test")

# What an agent's turn does (ECPO's action types), and what the user's next move is.
ACTIONS = ("ask", "recommend", "respond")
POLICIES = ("ask_for_recommendation", "answer_question", "give_feedback", "refuse", "accept", "leave")

# `completed`: accepted, or all turns were used; `left`: the user went away; `leaked`: the user named the target before the agent did, so that the
# episode counts nowhere; `failed`: an answer could not be had or used.
EPISODE_OUTCOMES = ("completed", "left", "leaked", "failed")

DOMAIN = Column("domain", pl.String, "What is looked for.", nullable=False, allowed=SIM_DOMAINS)
USER = Column(
    "user_id", pl.String, "Source and the source's own user: `yelp-8x2k`.", nullable=False, pattern="[a-z0-9_]+-.+"
)
ITEM = Column("item_id", pl.String, "The item in sim_items; the film's movie_id for films.", nullable=False)
SPLIT = Column("split", pl.String, "Part of the data: no user stands in both.", nullable=False, allowed=SIM_SPLITS)
HASH16 = "[0-9a-f]{16}"
EPISODE = Column("episode_id", pl.String, "Hash of task, agent, simulator and sample.", nullable=False, pattern=HASH16)
TASK = Column("task_id", pl.String, "Hash of domain, user, target and persona.", nullable=False, pattern=HASH16)
PERSONA = Column(
    "persona_id",
    pl.String,
    "Hash of domain, user and where the persona comes from; of its traits, too, where a release states several of a user.",
    nullable=False,
    pattern=HASH16,
)
AGENT = Column("agent", pl.String, "Agent that spoke.", nullable=False, allowed=AGENTS)
SIMULATOR = Column(
    "simulator", pl.String, "Simulated user: `ailo` (ECPO) or `seeker` (RSO).", nullable=False, allowed=SIMULATORS
)
MODEL = Column("model", pl.String, "Language model, as it names itself; null where none was asked.")
IS_STAND_IN = Column(
    "is_stand_in", pl.Boolean, "Whether the rule-based stand-in answered, which is no model.", nullable=False
)
PROMPT = Column(
    "prompt_version",
    pl.String,
    "Name and version of the prompt: `rewrite@1`; several separated by a space.",
    nullable=False,
)
INPUT_HASH = Column(
    "input_hash", pl.Int64, "Hash of what it was made from: what decides whether to make it again.", nullable=False
)


def _score(name: str, most: float, meaning: str, dtype: type[pl.DataType] = pl.Float64) -> Column:
    return Column(name, dtype, meaning, unit="points", minimum=0, maximum=most)


def _gain(name: str, most: float) -> Column:
    meaning = f"{name.capitalize()} of the rewrite less that of the original; null where it was not scored."
    return Column(f"{name}_gain", pl.Float64, meaning, unit="points", minimum=-most, maximum=most)


CORE_REVIEWS = Table(
    name="core_reviews",
    meaning="What people wrote about items: reviews, tags and remarks of several sources in one shape, in each user's order of time.",
    group=USERS_GROUP,
    key=("review_id",),
    sort_by=("domain", "user_id", "position"),
    licence="Amazon Reviews 2023, Yelp and MovieLens: terms of the releases; dialogues: that of their dataset",
    columns=(
        Column("review_id", pl.String, "Hash of source, user, item and position.", nullable=False, pattern=HASH16),
        Column("source", pl.String, "Shape of the release it is from.", nullable=False, allowed=REVIEW_SOURCES),
        DOMAIN,
        USER,
        Column("position", pl.Int32, "Position among the user's reviews by time, from 0.", nullable=False, minimum=0),
        ITEM,
        Column("headline", pl.String, "Headline of the review."),
        Column(
            "text",
            pl.String,
            "Text, markup taken out; tags joined; empty where only a rating was given.",
            nullable=False,
        ),
        Column("rating", pl.Float32, "Stars.", unit="stars", minimum=0.5, maximum=5),
        Column("is_positive", pl.Boolean, "Rated 4 or more, or said to be liked; null where nobody can tell."),
        Column("reviewed_at", pl.Datetime("us"), "When, UTC, where the release states it."),
        Column("file", pl.String, "File it was read from, relative to the sources folder.", nullable=False),
        Column("line", pl.Int64, "Line there, from 1.", nullable=False, minimum=1),
        Column("content_hash", pl.Int64, "Hash of the review's content.", nullable=False),
    ),
)

META_REVIEW_FILES = Table(
    name="meta_review_files",
    meaning="Review files that were read: fingerprint, and the balance of their rows.",
    group=USERS_GROUP,
    key=("file",),
    columns=(
        Column("file", pl.String, "File, relative to the sources folder.", nullable=False),
        Column("source", pl.String, "Shape of its release.", nullable=False, allowed=REVIEW_SOURCES),
        Column("layout", pl.String, "The layout it was read as.", nullable=False),
        Column("domain", pl.String, "What its items are.", nullable=False, allowed=SIM_DOMAINS),
        Column("size_bytes", pl.Int64, "Size.", unit="bytes", nullable=False, minimum=0),
        Column("mtime_ns", pl.Int64, "Time of change.", unit="ns", nullable=False),
        Column("sha256", pl.String, "Hash of the file's bytes.", nullable=False, pattern="[0-9a-f]{64}"),
        Column("rows", pl.Int64, "Records in the file.", nullable=False, minimum=0),
        Column("rows_kept", pl.Int64, "Records that were kept.", nullable=False, minimum=0),
        Column("rows_rejected", pl.Int64, "Records that could not be used.", nullable=False, minimum=0),
        Column("rejects", STRINGS, "The first twenty of them: line, reason and raw text.", nullable=False),
        Column("reader_version", pl.String, "Version of the code that read it.", nullable=False),
        Column(
            "inputs_hash",
            pl.String,
            "Hash of the tables that its reviews were made with: films of ids, ratings; null where there are none.",
        ),
    ),
)

CORE_REVIEW_ITEMS = Table(
    name="core_review_items",
    meaning="Items as releases of reviews describe them: what sim_items is made from for all domains but film.",
    group=USERS_GROUP,
    key=("domain", "item_id"),
    sort_by=("domain", "item_id"),
    licence="Amazon Reviews 2023 and Yelp: terms of the releases",
    columns=(
        Column("source", pl.String, "Shape of the release it is from.", nullable=False, allowed=REVIEW_SOURCES),
        DOMAIN,
        ITEM,
        Column("title", pl.String, "Full title.", nullable=False),
        Column("creators", STRINGS, "Authors, makers, brands.", nullable=False),
        Column("categories", STRINGS, "Shelves or categories, the widest first.", nullable=False),
        Column("place", pl.String, "Where it is; businesses only."),
        Column("description", pl.String, "Description, markup taken out."),
        Column("average_rating", pl.Float32, "Mean stars, as stated.", unit="stars", minimum=0, maximum=5),
        Column("ratings", pl.Int64, "How many ratings that mean is of.", minimum=0),
        Column("file", pl.String, "File that describes it best, relative to the sources folder.", nullable=False),
        Column("line", pl.Int64, "Line there, from 1.", nullable=False, minimum=1),
    ),
)

CORE_REVIEW_TASKS = Table(
    name="core_review_tasks",
    meaning="Tasks and personas that a release states (ECPO), line by line: what released rows of sim_personas and sim_tasks are made from.",
    group=USERS_GROUP,
    key=("file", "position"),
    sort_by=("file", "position"),
    licence="ECPO: its repository states no licence",
    columns=(
        Column(
            "source",
            pl.String,
            "Shape of the release whose users and items it names.",
            nullable=False,
            allowed=REVIEW_SOURCES,
        ),
        DOMAIN,
        USER,
        ITEM,
        Column("released_split", pl.String, "Part of the release.", nullable=False, allowed=SIM_SPLITS),
        Column(
            "position",
            pl.Int32,
            "Position among the file's records, from 0; records that cannot be used count.",
            nullable=False,
            minimum=0,
        ),
        Column("activities", pl.String, "As in sim_personas.", nullable=False),
        Column("interests", pl.String, "As in sim_personas; empty where it is left out.", nullable=False),
        Column("information_density", pl.String, "As in sim_personas.", nullable=False),
        Column("expression_style", pl.String, "As in sim_personas.", nullable=False),
        Column("tone", pl.String, "As in sim_personas.", nullable=False),
        Column("orientations", pl.String, "As in sim_personas; empty where it is left out.", nullable=False),
        Column("file", pl.String, "File it was read from, relative to the sources folder.", nullable=False),
        Column("line", pl.Int64, "Line there, from 1.", nullable=False, minimum=1),
    ),
)

SIM_ITEMS = Table(
    name="sim_items",
    meaning="What agents can search: the items of each domain, films as the corpus knows them.",
    group=USERS_GROUP,
    key=("domain", "item_id"),
    sort_by=("domain", "item_id"),
    columns=(
        DOMAIN,
        ITEM,
        Column("title", pl.String, "Full title.", nullable=False),
        Column("categories", STRINGS, "Genres, shelves or categories.", nullable=False),
        Column("creators", STRINGS, "Directors, authors, makers.", nullable=False),
        Column(
            "text",
            pl.String,
            "What is embedded and what agents are shown: one `Key: value` a line, title first.",
            nullable=False,
        ),
        Column("text_hash", pl.Int64, "Hash of that text.", nullable=False),
        Column(
            "average_rating", pl.Float32, "Mean stars, as the source states them.", unit="stars", minimum=0, maximum=5
        ),
        Column("ratings", pl.Int64, "How many ratings that mean is of.", minimum=0),
    ),
)

ML_SIM_EMBEDDINGS = Table(
    name="ml_sim_embeddings",
    meaning="Items of domains other than film as a sentence encoder sees them; films are in ml_item_embeddings.",
    group=USERS_GROUP,
    key=("encoder", "domain", "item_id"),
    sort_by=("encoder", "domain", "item_id"),
    columns=(
        Column("encoder", pl.String, "Profile of the encoder.", nullable=False),
        DOMAIN,
        ITEM,
        Column("text_hash", pl.Int64, "Hash of text, encoder and its version.", nullable=False),
        Column("vector", VECTOR, "The embedding, of length one.", nullable=False),
    ),
)

SUPPORT = pl.List(pl.Struct({"trait": pl.String, "review_id": pl.String}))
TRAITS = ("activities", "interests", "information_density", "expression_style", "tone", "orientations")
PERSONA_ORIGINS = ("inferred", "released", "random")

SIM_PERSONAS = Table(
    name="sim_personas",
    meaning="Personas (AILO: Activities, Interests, Language, Orientations): inferred from one user's reviews, released by others, or drawn at random for comparison.",
    group=USERS_GROUP,
    key=("persona_id",),
    sort_by=("domain", "origin", "user_id"),
    columns=(
        PERSONA,
        DOMAIN,
        USER,
        Column("origin", pl.String, "Where it comes from.", nullable=False, allowed=PERSONA_ORIGINS),
        Column(
            "activities",
            pl.String,
            "How the user goes about it: oriented towards efficiency, detail or exploration.",
            nullable=False,
        ),
        Column("interests", pl.String, "What the user likes; empty where a release leaves it out.", nullable=False),
        Column("information_density", pl.String, "Language: how much is said at once.", nullable=False),
        Column("expression_style", pl.String, "Language: how it is said.", nullable=False),
        Column("tone", pl.String, "Language: in what mood.", nullable=False),
        Column(
            "orientations", pl.String, "What the user decides by; empty where a release leaves it out.", nullable=False
        ),
        Column("support", SUPPORT, "Reviews that each trait rests on.", nullable=False),
        Column("reviews", pl.Int32, "Reviews it was inferred from.", unit="reviews", nullable=False, minimum=0),
        Column(
            "foreign_words",
            STRINGS,
            "Words of another domain that stand in it though no review of the user holds them.",
            nullable=False,
        ),
        Column(
            "max_rouge_l",
            pl.Float64,
            "Largest ROUGE-L (F1) to another persona of the same domain and origin; null for an only one.",
            minimum=0,
            maximum=1,
        ),
        MODEL,
        IS_STAND_IN,
        Column("prompt_version", pl.String, "Name and version of the prompt; null where none was used."),
        Column("request_hash", pl.String, "The request, as in llm_calls; null where nobody was asked."),
        INPUT_HASH,
    ),
)

IN_PERSONAS = ForeignKey(("persona_id",), "sim_personas", ("persona_id",))

SIM_TASKS = Table(
    name="sim_tasks",
    meaning="What simulated users look for: a persona and an item that its user liked.",
    group=USERS_GROUP,
    key=("task_id",),
    sort_by=("domain", "split", "user_id", "task_id"),
    foreign_keys=(IN_PERSONAS, ForeignKey(("domain", "target_item"), "sim_items", ("domain", "item_id"))),
    columns=(
        TASK,
        DOMAIN,
        USER,
        PERSONA,
        Column("target_item", pl.String, "The item to be found, in sim_items.", nullable=False),
        Column(
            "split",
            pl.String,
            "By user, fixed by hash; the released one where that is asked for.",
            nullable=False,
            allowed=SIM_SPLITS,
        ),
        Column(
            "released_split", pl.String, "Split that a release states; null for tasks made here.", allowed=SIM_SPLITS
        ),
        Column(
            "is_user_in_both",
            pl.Boolean,
            "Whether the release has tasks of this user in both of its splits.",
            nullable=False,
        ),
        Column("position", pl.Int32, "Position in the release's file, from 0; null for tasks made here.", minimum=0),
    ),
)

IN_TASKS = ForeignKey(("task_id",), "sim_tasks", ("task_id",))

SIM_EPISODES = Table(
    name="sim_episodes",
    meaning="Simulated conversations: one row an episode, how it ended and whether the target was found.",
    group=EPISODES_GROUP,
    key=("episode_id",),
    sort_by=("domain", "agent", "episode_id"),
    foreign_keys=(IN_TASKS,),
    columns=(
        EPISODE,
        TASK,
        DOMAIN,
        AGENT,
        SIMULATOR,
        Column("sample", pl.Int32, "Number among repeats of the same task, from 0.", nullable=False, minimum=0),
        USER,
        PERSONA,
        Column("target_item", pl.String, "The item to be found.", nullable=False),
        Column("target_title", pl.String, "Its full title.", nullable=False),
        SPLIT,
        Column(
            "profile",
            pl.String,
            "What the simulator drew for this user beyond the persona, as a JSON object: RSO's demographics and traits.",
        ),
        Column(
            "outcome",
            pl.String,
            "How it ended; `leaked` episodes count nowhere, `failed` ones are counted as such.",
            nullable=False,
            allowed=EPISODE_OUTCOMES,
        ),
        Column("problem", pl.String, "What went wrong, in words."),
        Column("is_success", pl.Boolean, "Whether a reply of the agent holds the target's full title.", nullable=False),
        Column("is_retrieved", pl.Boolean, "Whether the target was among what the agent retrieved.", nullable=False),
        Column("is_accepted", pl.Boolean, "Whether the user accepted the target.", nullable=False),
        Column(
            "is_stopped",
            pl.Boolean,
            "Whether the user's state rose above RSO's threshold (Conv-SR); null where it was not asked for.",
        ),
        Column("success_turn", pl.Int32, "Agent turns until the first reply with the title, from 1.", minimum=1),
        Column("agent_turns", pl.Int32, "Turns of the agent.", unit="turns", nullable=False, minimum=0),
        Column("turn_limit", pl.Int32, "Turns that the agent had.", unit="turns", nullable=False, minimum=1),
        _score("satisfaction_mean", 5, "Mean satisfaction of the agent's turns; null where none was scored."),
        Column(
            "questions", pl.Int32, "Questions to the language model, from the cache or not.", nullable=False, minimum=0
        ),
        MODEL,
        IS_STAND_IN,
        PROMPT,
        INPUT_HASH,
    ),
)

IN_EPISODES = ForeignKey(("episode_id",), "sim_episodes", ("episode_id",))

SIM_TURNS = Table(
    name="sim_turns",
    meaning="What was said in simulated conversations, one row a turn: the user's policy, the agent's action and searches, and how far the turn met expectations.",
    group=EPISODES_GROUP,
    key=("episode_id", "turn"),
    sort_by=("episode_id", "turn"),
    foreign_keys=(IN_EPISODES,),
    columns=(
        EPISODE,
        Column("turn", pl.Int32, "Position, from 0; even turns are the user's.", nullable=False, minimum=0),
        DOMAIN,
        AGENT,
        Column("role", pl.String, "Who speaks.", nullable=False, allowed=("user", "assistant")),
        Column("text", pl.String, "What was said.", nullable=False),
        Column("action", pl.String, "What the agent's turn does.", allowed=ACTIONS),
        Column("policy", pl.String, "What the user's turn does.", allowed=POLICIES),
        Column("reasoning", pl.String, "What the speaker thought first, as the model gave it."),
        Column(
            "overaccepted",
            pl.Int32,
            "User's turns: how often it chose to accept though the agent had not named the target; it was asked again, and in the end the turn became give_feedback.",
            minimum=0,
        ),
        Column("queries", STRINGS, "The agent's searches in this turn, in order.", nullable=False),
        Column("retrieved", STRINGS, "Items that they found, in order, each once.", nullable=False),
        Column(
            "state",
            pl.String,
            "The agent's state before this turn (profile, plans), as a JSON object: what a rewrite goes back to.",
        ),
        _score("flexibility", 2, "Expectation confirmation: flexibility."),
        _score("coherence", 2, "Expectation confirmation: coherence."),
        _score("guidance", 1, "Expectation confirmation: user guidance."),
        _score("satisfaction", 5, "Their sum; the mean where several samples were taken."),
        Column("reason", pl.String, "Why, dimension by dimension."),
        Column(
            "confirmations",
            pl.Int32,
            "Samples that the scores are the mean of; 0 where every one was malformed.",
            minimum=0,
        ),
        Column("malformed", pl.Int32, "Samples that could not be used after retrying.", minimum=0),
        Column(
            "feeling",
            pl.Float64,
            "RSO's rewarder: mean value of the user's named states, .2 to 1.",
            minimum=0.2,
            maximum=1,
        ),
        Column("feelings", STRINGS, "The states that were named, one a sample.", nullable=False),
    ),
)

CALL_PURPOSES = (
    "policy",
    "utterance",
    "agent",
    "confirmation",
    "feeling",
    "rewrite",
    "confirm_rewrite",
    "judge",
    "branch",
)

SIM_CALLS = Table(
    name="sim_calls",
    meaning="Questions to the language model, by what they were for: joins simulated conversations and comparison data with llm_calls.",
    group=EPISODES_GROUP,
    key=("method", "owner_id", "number"),
    sort_by=("method", "owner_id", "number"),
    columns=(
        Column(
            "method",
            pl.String,
            "What the question was for: `episode`, `ecpo` (rewrite and second confirmation), `tree` (sampled branches), `judge`.",
            nullable=False,
            allowed=("episode", "ecpo", "tree", "judge"),
        ),
        Column("owner_id", pl.String, "The episode, pair or judgement.", nullable=False, pattern=HASH16),
        Column("number", pl.Int32, "Number of the question, from 0.", nullable=False, minimum=0),
        DOMAIN,
        Column("purpose", pl.String, "Which step asked.", nullable=False, allowed=CALL_PURPOSES),
        Column("turn", pl.Int32, "Turn that it belongs to.", minimum=0),
        Column("prompt_version", pl.String, "Name and version of the prompt.", nullable=False),
        Column("request_hash", pl.String, "The request, as in llm_calls.", nullable=False),
        Column("outcome", pl.String, "As in llm_calls.", nullable=False),
    ),
)

PREF_ECPO_PAIRS = Table(
    name="pref_ecpo_pairs",
    meaning="Turn-level preference pairs by backward expectation derivation (ECPO): an unsatisfying reply, its rewrite, and why.",
    group=EPISODES_GROUP,
    key=("pair_id",),
    sort_by=("domain", "agent", "episode_id", "turn"),
    foreign_keys=(IN_EPISODES, ForeignKey(("episode_id", "turn"), "sim_turns", ("episode_id", "turn"))),
    columns=(
        Column(
            "pair_id",
            pl.String,
            "Hash of episode, turn, and prompt version of the rewrite.",
            nullable=False,
            pattern=HASH16,
        ),
        EPISODE,
        Column("turn", pl.Int32, "The agent's turn that was rewritten.", nullable=False, minimum=0),
        DOMAIN,
        AGENT,
        SIMULATOR,
        SPLIT,
        USER,
        Column("context", MESSAGES, "The conversation before the turn.", nullable=False),
        Column("original", pl.String, "The reply that did not satisfy.", nullable=False),
        Column("rewritten", pl.String, "The rewrite; null where none could be used."),
        Column("reason", pl.String, "Why the reply did not satisfy, as the confirmation says.", nullable=False),
        Column("reasoning", pl.String, "How the rewriter thought."),
        Column(
            "action_type", pl.String, "What the reply does, and the rewrite with it.", nullable=False, allowed=ACTIONS
        ),
        _score("score_before", 5, "Satisfaction with the original."),
        _score("score_after", 5, "Satisfaction with the rewrite, by a second confirmation; null where there is none."),
        Column("is_improved", pl.Boolean, "Whether the rewrite scores higher; null where it was not scored."),
        _gain("flexibility", 2),
        _gain("coherence", 2),
        _gain("guidance", 1),
        Column(
            "rewrite_distance",
            pl.Float64,
            "1 - normalised similarity of words (insertions and deletions) between the two.",
            minimum=0,
            maximum=1,
        ),
        Column(
            "status",
            pl.String,
            "`kept`: a pair; else why it is none.",
            nullable=False,
            allowed=(
                "kept",
                "unparseable",
                "other_action",
                "title_lost",
                "unknown_title",
                "same",
                "too_far",
                "empty",
                "no_answer",
                "not_scored",
            ),
        ),
        Column("retrieved", STRINGS, "Items that the agent had retrieved.", nullable=False),
        Column("is_success", pl.Boolean, "Whether the episode found its target.", nullable=False),
        Column("judge_prompt_version", pl.String, "Prompt of the confirmations.", nullable=False),
        Column("model", pl.String, "Language model, as it names itself.", nullable=False),
        IS_STAND_IN,
        PROMPT,
        INPUT_HASH,
    ),
)

PREF_TRAJECTORIES = Table(
    name="pref_trajectories",
    meaning="Successful simulated conversations as training text for simulation-guided planning tuning (SGPT): input and output of every agent turn, few-shots taken out.",
    group=EPISODES_GROUP,
    key=("episode_id", "turn"),
    sort_by=("episode_id", "turn"),
    foreign_keys=(IN_EPISODES,),
    columns=(
        EPISODE,
        Column("turn", pl.Int32, "The agent's turn.", nullable=False, minimum=0),
        DOMAIN,
        AGENT,
        SPLIT,
        USER,
        Column("prompt", MESSAGES, "The conversation before.", nullable=False),
        Column(
            "completion",
            pl.String,
            "Reasoning, searches and reply of the turn, as the agent gave them.",
            nullable=False,
        ),
        Column("response", pl.String, "The reply alone.", nullable=False),
        MODEL,
        IS_STAND_IN,
    ),
)

PREF_TREE_PAIRS = Table(
    name="pref_tree_pairs",
    meaning="Pairs by sampling (SDPO, SKTO): several replies to one turn, each played to the end; the best and the worst by what came of them.",
    group=EPISODES_GROUP,
    key=("pair_id",),
    sort_by=("domain", "agent", "episode_id", "turn"),
    foreign_keys=(IN_EPISODES,),
    columns=(
        Column("pair_id", pl.String, "Hash of episode, turn and settings.", nullable=False, pattern=HASH16),
        EPISODE,
        Column("turn", pl.Int32, "The agent's turn that was sampled.", nullable=False, minimum=0),
        DOMAIN,
        AGENT,
        SPLIT,
        USER,
        Column("context", MESSAGES, "The conversation before.", nullable=False),
        Column("chosen", pl.String, "The reply with the highest reward; null where all rewards are equal."),
        Column("rejected", pl.String, "The reply with the lowest reward; null where all rewards are equal."),
        Column("rewards", pl.List(pl.Float64), "Reward of every sampled reply, in their order.", nullable=False),
        Column("replies", STRINGS, "Every sampled reply.", nullable=False),
        Column("trajectories", pl.Int32, "Conversations that were played for it.", nullable=False, minimum=0),
        MODEL,
        IS_STAND_IN,
        INPUT_HASH,
    ),
)

PREF_SKTO = Table(
    name="pref_skto",
    meaning="Sampled replies as TRL's KTO trainer takes them (SKTO): prompt, completion, and whether its reward is above the mean of its siblings.",
    group=EPISODES_GROUP,
    key=("pair_id", "sample"),
    columns=(
        Column("pair_id", pl.String, "The sampled turn, in pref_tree_pairs.", nullable=False),
        Column("sample", pl.Int64, "Number of the reply, from 0.", nullable=False),
        DOMAIN,
        SPLIT,
        IS_STAND_IN,
        Column("prompt", MESSAGES, "The conversation before.", nullable=False),
        Column("completion", MESSAGES, "The reply.", nullable=False),
        Column("label", pl.Boolean, "Whether it is a good one.", nullable=False),
    ),
    sql="SELECT pair_id, n - 1 AS sample, domain, split, is_stand_in, context AS prompt, [{'role': 'assistant', 'content': replies[n]}] AS completion, "
    "rewards[n] > list_avg(rewards) AS label FROM pref_tree_pairs, unnest(range(1, len(replies) + 1)) AS each(n) WHERE chosen IS NOT NULL AND rewards[n] <> list_avg(rewards)",
)

SIM_JUDGEMENTS = Table(
    name="sim_judgements",
    meaning="What the judge said about episodes: which of two is better, how much the user would want the item, how credible explanations are.",
    group=JUDGEMENTS_GROUP,
    key=("judgement_id",),
    sort_by=("measure", "episode_id", "judgement_id"),
    foreign_keys=(IN_EPISODES,),
    columns=(
        Column("judgement_id", pl.String, "Hash of the question.", nullable=False, pattern=HASH16),
        EPISODE,
        DOMAIN,
        AGENT,
        SIMULATOR,
        Column(
            "measure",
            pl.String,
            "Asked for: `win` (paired), `intention_before`, `intention_after`, `intention_true`, `credibility`.",
            nullable=False,
            allowed=("win", "intention_before", "intention_after", "intention_true", "credibility"),
        ),
        Column(
            "dimension",
            pl.String,
            "`win`: flexibility, coherence, guidance or overall; else null.",
            allowed=("flexibility", "coherence", "guidance", "overall"),
        ),
        Column("turn", pl.Int32, "Turn that it is about (credibility).", minimum=0),
        Column("against_id", pl.String, "`win`: the other episode.", pattern=HASH16),
        Column("is_first", pl.Boolean, "`win`: whether the episode was shown first."),
        Column(
            "value",
            pl.Float64,
            "`win`: 1 better, 0 tie, -1 worse; intentions and credibility: 1 to 5; null where no usable answer came.",
            minimum=-1,
            maximum=5,
        ),
        Column("reason", pl.String, "Why, as the judge says."),
        Column("problem", pl.String, "Why there is no value."),
        MODEL,
        IS_STAND_IN,
        PROMPT,
        Column(
            "request_hash",
            pl.String,
            "The request, as in llm_calls; null where there was nothing to ask about.",
        ),
    ),
)

TABLES = (
    CORE_REVIEWS,
    META_REVIEW_FILES,
    CORE_REVIEW_ITEMS,
    CORE_REVIEW_TASKS,
    SIM_ITEMS,
    ML_SIM_EMBEDDINGS,
    SIM_PERSONAS,
    SIM_TASKS,
    SIM_EPISODES,
    SIM_TURNS,
    SIM_CALLS,
    PREF_ECPO_PAIRS,
    PREF_TRAJECTORIES,
    PREF_TREE_PAIRS,
    PREF_SKTO,
    SIM_JUDGEMENTS,
)
