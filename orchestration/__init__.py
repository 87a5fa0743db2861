"""The orchestration of Zhiying: stations, settings, resources and the command line; no algorithm lives here."""
