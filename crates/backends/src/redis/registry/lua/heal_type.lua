-- Makes a lost change of an event type again, unless a later one was made again already.
-- KEYS: the organisation's hash, event types, their names in order, names of those that validate
-- ARGV: version, name, the version of the change, the record or '' where it was deleted, '1' where it validates
-- Returns a word.

local types = redis.call('HGET', KEYS[1], 'types')
local mark = redis.call('HGET', KEYS[1], 'h:' .. ARGV[2])
if mark and tonumber(mark) >= tonumber(ARGV[3]) then return 'newer' end
if tonumber(types or 0) >= tonumber(ARGV[1]) then return 'again' end
redis.call('HSET', KEYS[1], 'types', ARGV[1], 'here', 1, 'h', ARGV[1], 'h:' .. ARGV[2], ARGV[3])
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[2], ARGV[2])
  redis.call('ZREM', KEYS[3], ARGV[2])
else
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
  redis.call('ZADD', KEYS[3], 0, ARGV[2])
end
redis.call(ARGV[5] == '1' and 'SADD' or 'SREM', KEYS[4], ARGV[2])
return 'done'
