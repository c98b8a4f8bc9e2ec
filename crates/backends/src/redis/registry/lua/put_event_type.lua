-- KEYS: the organisation's hash, event types, their names in order, names of those that validate
-- ARGV: version, name, the 8 bytes of version that must be there, or '' for none; the record, '1' where it validates
-- Returns a word.

local name, expected, record = ARGV[2], ARGV[3], ARGV[4]
local old = redis.call('HGET', KEYS[2], name)
local stands = old and string.sub(old, 2, 9)
if expected == '' and old then return 'exists' end
if expected ~= '' and stands ~= expected then return 'stale' end
-- Versions of event types grow over all of an organisation, so that a deleted one needs no trace of its own.
if tonumber(redis.call('HGET', KEYS[1], 'types') or 0) >= tonumber(ARGV[1]) then return 'again' end
redis.call('HSET', KEYS[1], 'types', ARGV[1], 'here', 1)
if redis.call('HEXISTS', KEYS[1], 'h') == 1 then redis.call('HSET', KEYS[1], 'h:' .. name, ARGV[1]) end
redis.call('HSET', KEYS[2], name, record)
redis.call('ZADD', KEYS[3], 0, name)
redis.call(ARGV[5] == '1' and 'SADD' or 'SREM', KEYS[4], name)
return 'done'
