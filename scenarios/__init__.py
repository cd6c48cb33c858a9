"""Scenario files (YAML) and their schema; what comes along by name is in `scenarios.shipped`."""
