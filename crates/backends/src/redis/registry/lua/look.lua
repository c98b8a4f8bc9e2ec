-- Whether the registry is all there.
-- ARGV: application or '', organisation or ''
-- Returns how the registry stands, whether the application is registered, whether it is being changed, whether the organisation is registered.

local registered, busy = look_for(ARGV[1])
local org = 0
if ARGV[2] ~= '' and redis.call('ZSCORE', KEYS[7], ARGV[2]) then org = 1 end
return { standing(), registered, busy, org }
