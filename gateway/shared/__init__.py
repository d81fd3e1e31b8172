"""What this process shares with its replicas through Redis. Without Redis each process keeps its own."""
