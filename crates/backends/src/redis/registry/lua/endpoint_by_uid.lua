-- ARGV: uid
-- Returns the application's version and the endpoint.

local id = redis.call('HGET', app, 'u' .. ARGV[1])
return { version, id and redis.call('HGET', app, 'e' .. id) }
