{{ staged_events('film', 'film_id') }}
