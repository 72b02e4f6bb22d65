"""The gateway to language models: any endpoint that speaks OpenAI's chat completions.

`prompts.py` and `requests.py` are what is asked, `settings.py` is how, `gateway.py` asks, `cache.py` keeps answers and ledger,
`runs.py` is what comes back.
"""
