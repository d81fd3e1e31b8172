"""How the nano experts were trained and measured. Offline, with torch; not part of what is installed."""
