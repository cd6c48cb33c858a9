"""Requests that are served together, as a page: which configuration at which load, and what the devices did.

Built on `reports.page`; no other package imports it.
"""
