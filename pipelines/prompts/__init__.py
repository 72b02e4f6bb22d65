"""Prompts, a TOML file each (docs/llm-gateway.md says what is in one), and `versions.toml`, which pins their texts."""
