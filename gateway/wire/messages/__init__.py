"""Translates Anthropic's Messages API to chat completions and back."""
