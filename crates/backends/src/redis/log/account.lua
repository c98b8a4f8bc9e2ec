#!lua flags=allow-oom
-- Notes by how many bytes the log grew in an hour.
--
-- KEYS  bytes by hour
-- ARGV  (hour, bytes) and so on
for i = 1, #ARGV, 2 do
  if redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) <= 0 then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
