-- What has changed, and what was begun and not ended.
-- ARGV: the position behind which changes are wanted, or ''; after how many milliseconds an intent is overdue;
--       most changes and intents that are wanted
-- Returns how the registry stands, the cut, changes and their positions, overdue intents.

local changes = {}
if ARGV[1] ~= '' then
  changes = redis.call('ZRANGE', KEYS[4], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
end
local overdue = redis.call('ZRANGE', KEYS[5], '-inf', text(now - ARGV[2]), 'BYSCORE', 'LIMIT', 0, ARGV[3])
return { standing(), tonumber(redis.call('GET', KEYS[3]) or 0), changes, overdue }
