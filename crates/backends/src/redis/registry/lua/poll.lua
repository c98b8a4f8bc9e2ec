-- What has changed, and what was begun and not ended.
-- ARGV: the position behind which changes are wanted, or ''; after how many milliseconds an intent is overdue;
--       most changes and intents that are wanted;
--       the last change that the caller was told, or ''; its position; a version that was reached; the epoch it was told in;
--       for how many milliseconds lost changes are put back
-- Returns how the registry stands, the cut, changes and their positions, overdue intents, organisations whose event types
-- have changed and their positions.

local cut = tonumber(redis.call('GET', KEYS[3]) or 0)
-- Redis went back, and somebody who did not know wrote on: versions follow the clock, and only this change is missing.
if ARGV[4] ~= '' and epoch == ARGV[7] and version >= tonumber(ARGV[6]) and tonumber(ARGV[5]) > cut
  and not redis.call('ZSCORE', KEYS[4], ARGV[4]) and redis.call('GET', KEYS[8]) ~= '2' then
  redis.call('SET', KEYS[8], 2, 'PX', ARGV[8])
end
local changes, types = {}, {}
if ARGV[1] ~= '' then
  changes = redis.call('ZRANGE', KEYS[4], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
  types = redis.call('ZRANGE', KEYS[10], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
end
local overdue = redis.call('ZRANGE', KEYS[5], '-inf', text(now - ARGV[2]), 'BYSCORE', 'LIMIT', 0, ARGV[3])
return { standing(), cut, changes, overdue, types }
