"""Figures about campaigns: allocation, experiments, uplift, off-policy evaluation."""
