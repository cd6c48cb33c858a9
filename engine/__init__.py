"""The decoder: policies (torch-free), and what a run writes down."""
