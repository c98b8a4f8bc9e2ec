-- Which event types validate, as far as is known.
-- KEYS: the organisation's hash, names of event types that validate
-- Returns the newest version of an event type or false, and names.

return { redis.call('HGET', KEYS[1], 'types'), redis.call('SMEMBERS', KEYS[2]) }
