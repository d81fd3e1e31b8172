"""Processes: the server, its workers, what is started beside them, and the change of settings."""
