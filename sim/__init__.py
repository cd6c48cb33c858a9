"""The discrete-event simulator; runs the engine's own policies without importing torch."""
