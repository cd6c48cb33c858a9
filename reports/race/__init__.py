"""Many requests at once by our engine and by serving engines that a user would pick, in one interleaved run.

Each rival has an environment of its own, where `server.py` runs and imports nothing of this program. Built on the
engine, the prompts and `reports.wording`; no other package imports it.
"""
