"""Translates OpenAI's Responses API to chat completions and back."""
