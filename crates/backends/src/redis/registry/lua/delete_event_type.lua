-- KEYS: the organisation's hash, event types, their names in order, names of those that validate
-- ARGV: name, version
-- Returns 1 where there was one.

redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('SREM', KEYS[4], ARGV[1])
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'types') or 0) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'types', ARGV[2])
end
if redis.call('HEXISTS', KEYS[1], 'h') == 1 then redis.call('HSET', KEYS[1], 'h:' .. ARGV[1], ARGV[2]) end
return 1
