"""The page of a verification: its sections and charts, and the template, style and script that all pages share.

Built on `reports.verify`; the other pages, of maps and comparisons, are made of its parts.
"""
