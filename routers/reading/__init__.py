"""What a prompt says, before it is embedded: what is asked in it, how much, and in which language. Without a model."""
