"""Campaigns: whom to reach under limits, and what reaching them has caused.

Holds the science of campaigns as plain functions: response and uplift, allocation, experiments, attribution, off-policy
evaluation. Where the numbers come from and where they go is decided by the caller.
"""
