"""When the graph runs: jobs, the daily schedule, the landing sensor, and policies over whole selections."""
