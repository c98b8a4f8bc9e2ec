-- Stores a document where what is expected is there.
--
-- KEYS  documents, names, names by their end
-- ARGV  name, '*' for anything, '' for nothing, or the version that is expected, now, until or 0, body
-- Returns its version; nothing where something else is there.
local stored, names, ends = unpack(KEYS)
local name, expected, now, till, body = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- What ended so long ago is removed, a few with each write: clocks of those who write may differ.
local SPARE, SWEPT = 3600000, 8

local found = redis.call('HGET', stored, name)
local last, living = 0, ''
if found then
  local version, ends_at = string.match(found, '^(%d+):(%-?%d+):')
  last = tonumber(version)
  if ends_at == '0' or tonumber(ends_at) > now then
    living = version
  end
end
if expected ~= '*' and expected ~= living then
  return false
end
local version = string.format('%.0f', math.max(last + 1, now))
redis.call('HSET', stored, name, version .. ':' .. till .. ':' .. body)
redis.call('ZADD', names, 0, name)
if till == '0' then
  redis.call('ZREM', ends, name)
else
  redis.call('ZADD', ends, till, name)
end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now - SPARE, 'LIMIT', 0, SWEPT)) do
  if old ~= name then
    redis.call('HDEL', stored, old)
    redis.call('ZREM', names, old)
    redis.call('ZREM', ends, old)
  end
end
return tonumber(version)
