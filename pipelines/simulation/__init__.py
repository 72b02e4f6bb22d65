"""Simulated conversations: personas, tasks, simulated users, agents, how satisfied the users are, and the pairs that come of it.

Everything that asks the language model is a generator (`pipelines/gateways/llm/conversations.py`): no network, no clock.
"""
