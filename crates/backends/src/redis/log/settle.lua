#!lua flags=allow-oom
-- Takes hours out of the account that are older than the oldest period there is: what was not booked when they went.
-- Periods are named before anything of them is booked, and the directory is in the order of their hours but where
-- clocks differ.
--
-- KEYS  bytes by hour, application and hour of all applications
local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
local first = math.huge
if oldest then
  local a, b, c, d = string.byte(oldest, 21, 24)
  first = ((a * 256 + b) * 256 + c) * 256 + d
end
for _, hour in ipairs(redis.call('HKEYS', KEYS[1])) do
  if tonumber(hour) < first then
    redis.call('HDEL', KEYS[1], hour)
  end
end
