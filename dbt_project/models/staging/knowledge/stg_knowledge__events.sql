{{ staged_events('knowledge', 'content_id') }}
