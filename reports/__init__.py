"""Verification (predicted against measured) and the pages that show it."""
