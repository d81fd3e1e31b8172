"""What this process shares with its replicas through Redis, and keeps by itself where there is none."""
