-- Tells that event types of an organisation have changed, unless the registry is not the one they were changed in.
-- ARGV: organisation, the epoch that must be ('': any), the version that must have been reached, channel of notices
-- Returns how the registry stands.

if (ARGV[2] ~= '' and epoch ~= ARGV[2]) or version < tonumber(ARGV[3]) then return standing() end
local position = next_version(0)
redis.call('ZADD', KEYS[10], text(position), ARGV[1])
redis.call('PUBLISH', ARGV[4], text(position))
return standing()
