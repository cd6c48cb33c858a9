"""Verifications beside each other, paired where they share configurations and prompts.

Built on `reports.verify` and `reports.page`; no other package imports it.
"""
