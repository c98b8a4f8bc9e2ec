-- KEYS: the breaker
-- ARGV: the version that is expected, 8 bytes, or ''; the record; until when to keep it
-- The version comes first in the value. It is made of this server's clock, so that none is used twice: nobody takes
-- a record that was forgotten and made anew for the one it knew.

local stored = redis.call('GET', KEYS[1])
local version = stored and string.sub(stored, 1, 8) or ''
if version ~= ARGV[1] then
    return 0
end
local time = redis.call('TIME')
local newer = time[1] * 1000000 + time[2]
local kept = tonumber(ARGV[3])
if stored then
    newer = math.max(newer, struct.unpack('>I8', version) + 1)
    kept = math.max(kept, redis.call('PEXPIRETIME', KEYS[1]))
end
redis.call('SET', KEYS[1], struct.pack('>I8', newer) .. ARGV[2], 'PXAT', kept)
return 1
