"""Other people's routers, fitted and asked in the same run as ours: same split, same prompts, same features."""
