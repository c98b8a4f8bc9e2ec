#!lua flags=allow-oom
-- Takes away payloads that have outlived their time. It makes room, so it runs where there is none left.
--
-- KEYS  those of a period: records, by endpoint, by event id, ends of payloads, texts, apart
-- ARGV  now, the most payloads of one call
-- Returns how many ends were due, how many payloads that took away, by how many bytes the period grew, and the next end or ''.
local records, _, _, ends, _, apart = unpack(KEYS)
-- As in record.lua.
local function cost(bytes)
  return math.floor(bytes * 17 / 16) + 104
end
local grown, touched = 0, 0

local function strip_member(member)
  local m1, m2, m3, p1, p2 = string.byte(member, 23, 27)
  local meta = 27 + (m1 * 256 + m2) * 256 + m3
  local payload = p1 * 256 + p2
  local bare = string.sub(member, 1, 21) .. '\0' .. string.sub(member, 23, 25) .. '\0\0'
    .. string.sub(member, 28, meta) .. string.sub(member, meta + payload + 1)
  if redis.call('ZADD', records, 0, bare) == 1 then
    grown = grown + cost(#bare)
  end
  redis.call('ZREM', records, member)
  grown = grown - cost(#member)
end

-- A record that was repeated after its payload had gone is there twice.
local function strip(id)
  local stripped = 0
  for _, member in ipairs(redis.call('ZRANGEBYLEX', records, '[' .. id, '(' .. id .. '\17')) do
    if string.byte(member, 22) % 2 == 1 then
      strip_member(member)
      stripped = 1
    end
  end
  if stripped == 0 then
    return
  end
  local size = redis.call('HSTRLEN', apart, id)
  if redis.call('HDEL', apart, id) == 1 then
    grown = grown - cost(size)
  end
  touched = touched + 1
end

local due = redis.call('ZRANGEBYSCORE', ends, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  strip(id)
  redis.call('ZREM', ends, id)
  grown = grown - cost(#id)
end
return {#due, touched, grown, redis.call('ZRANGE', ends, 0, 0, 'WITHSCORES')[2] or ''}
