"""DéjàVu's simulators, planner and figures, with the flags of its simulation page.

docs/guides/dejavu.md shows how to use them, docs/background/dejavu.md what differs and why.
"""
