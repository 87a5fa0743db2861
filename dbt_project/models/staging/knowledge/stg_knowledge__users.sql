{{ staged_users('knowledge') }}
