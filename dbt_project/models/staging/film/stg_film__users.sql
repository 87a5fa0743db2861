{{ staged_users('film') }}
