"""Does routing pay? Outcome tables, replay, baselines, metrics and reports. Never imports the gateway."""
