"""Measurements of a model pair on real hardware, and the prompts that they are taken on."""
