"""What jobs take: measured, stated, or those of hardware that is not at hand; and how models slow each other.

Built on `sim.scripts`, whose jobs it prices; the world plays them.
"""
