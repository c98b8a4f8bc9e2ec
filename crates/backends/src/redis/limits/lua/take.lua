-- The generic cell rate algorithm, as in core's `rate`, by this server's clock.
-- KEYS: the subject's rate
-- ARGV: the caller's time, the interval in nanoseconds, the burst, how many are wanted
-- Returns how many are granted, and in milliseconds of the caller's clock when one more will be there, if fewer.
--
-- Nanoseconds since 1970 do not fit a number of Lua, which is exact to 53 bits. So two numbers are stored: a time in
-- microseconds, and by how many nanoseconds the theoretical arrival time was ahead of it; that fits up to 104 days.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local used = 0 -- how far the theoretical arrival time is ahead of now
local stored = redis.call('GET', KEYS[1])
if stored then
    if #stored ~= 16 then
        return redis.error_reply('CORRUPT a rate cannot be read')
    end
    local at, then_used = struct.unpack('>I8I8', stored)
    used = math.max(then_used - (now - at) * 1000, 0)
end

local most = math.min(interval * burst, 2 ^ 53)
local granted = math.min(math.max(math.floor((most - used) / interval), 0), wanted)
if granted > 0 then
    used = used + granted * interval
    redis.call('SET', KEYS[1], struct.pack('>I8I8', now, used), 'PX', math.ceil(used / 1000000) + 1)
end
if granted == wanted then
    return { granted }
end
local offset = math.floor(now / 1000) - tonumber(ARGV[1])
if math.abs(offset) < 2000 then
    offset = 0
end
-- Rounded up: who comes at that time finds the permit there.
local wait = used + interval - most
return { granted, math.floor(now / 1000) + math.ceil((now % 1000 * 1000 + wait) / 1000000) - offset }
