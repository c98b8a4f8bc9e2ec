-- Counts one more trial.
-- KEYS: how many have begun and were not ended
-- ARGV: the caller's time, until when to keep the count
-- Returns the count, this trial included.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local begun = redis.call('INCR', KEYS[1])
local kept = math.max(now + tonumber(ARGV[2]) - tonumber(ARGV[1]), redis.call('PEXPIRETIME', KEYS[1]), 1)
redis.call('PEXPIREAT', KEYS[1], kept)
return begun
