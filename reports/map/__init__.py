"""The map of regimes as a page and a table: which method wins where, what was published, and what was measured.

Built on `reports.verify` and `reports.page`; no other package imports it.
"""
