"""Generation: sessions, workers and their processes, channels and messages, and which cores or devices each one gets.

Built on all other packages of the engine. Only what runs inside a worker imports torch; everything above the engine
may import from here.
"""
