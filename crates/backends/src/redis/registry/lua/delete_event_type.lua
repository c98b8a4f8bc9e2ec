-- KEYS: the organisation's hash, event types, their names in order
-- ARGV: name

redis.call('ZREM', KEYS[3], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1])
