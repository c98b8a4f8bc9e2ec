#!lua flags=allow-oom
-- Removes a document.
--
-- KEYS  documents, names, names by their end
-- ARGV  name, now
-- Returns whether there was one.
local stored, names, ends = unpack(KEYS)
local name, now = ARGV[1], tonumber(ARGV[2])
local found = redis.call('HGET', stored, name)
if not found then
  return 0
end
redis.call('HDEL', stored, name)
redis.call('ZREM', names, name)
redis.call('ZREM', ends, name)
local till = string.match(found, '^%d+:(%-?%d+):')
return (till == '0' or tonumber(till) > now) and 1 or 0
