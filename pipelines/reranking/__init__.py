"""The language model's stage of retrieval: candidates are shown to it, its list is read, and what it names is told apart.

`requests.py` is what is asked, `parsing.py` reads a list out of an answer, `matching.py` says which film each line is, `rewards.py` scores
the list for reinforcement learning, `zero_shot.py` grades recorded lists under He et al.'s rules, which `recorded.py` reads.
Does not belong here: talking to a model (`gateways/llm`), tables (assets/build/reranking.py).

Source: RAR (sections 3.3 and A.2, figure 5); He et al. 2023 for the grading of lists.
"""
