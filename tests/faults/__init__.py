"""Faults of real stores: what was acknowledged, in doubt, forgotten, and whether a handoff ever had two holders."""
