-- Removes letters by age.
--
-- ARGV  the time before which they died, the most letters of one call
-- Returns how many there were.
local removed = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ages, '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])) do
  redis.call('ZREM', ages, id)
  removed = removed + forget(id)
end
return removed
