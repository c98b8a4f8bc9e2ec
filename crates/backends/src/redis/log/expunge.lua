#!lua flags=allow-oom
-- Puts a member in the place of another, without the response of one of its attempts. It makes room, so it runs where
-- there is none left.
--
-- KEYS  those of a period: records, by endpoint, by event id, ends of payloads, texts, apart
-- ARGV  the member as it was read, as it is to be, the attempt
-- Returns whether it was there still, and by how many bytes the period grew.
local records, _, _, _, _, apart = unpack(KEYS)
local old, new, attempt = unpack(ARGV)
-- As in record.lua.
local function cost(bytes)
  return math.floor(bytes * 17 / 16) + 104
end

if not redis.call('ZSCORE', records, old) then
  return {0, 0}
end
local grown = 0
if redis.call('ZADD', records, 0, new) == 1 then
  grown = grown + cost(#new)
end
redis.call('ZREM', records, old)
grown = grown - cost(#old)
local size = redis.call('HSTRLEN', apart, attempt)
if redis.call('HDEL', apart, attempt) == 1 then
  grown = grown - cost(size)
end
return {1, grown}
