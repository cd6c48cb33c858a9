"""What policies do along texts, written down without a clock: the jobs of each round and what they have to do.

Built on `sim.acceptance`; costs and the world give the scripts their time.
"""
