"""A small honest world to try things in.

Here are the people, the catalogue and the behaviour that stand in for two real platforms: today the demo landing zone, later
closed campaign loops. What is simulated is marked as such in what is written. Loading, modelling and publishing live elsewhere;
nothing here imports `orchestration`.
"""
