"""Scenario files (YAML) and their schema."""
