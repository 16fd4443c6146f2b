"""Servers that speak OpenAI's completions: vLLM, SGLang, and plain ones.

`kinds` says what is known of each, `capabilities` asks a server what it can really do, `requests`
and `answers` are the wire, `server` puts them together, and `handover` moves weights in place.
"""
