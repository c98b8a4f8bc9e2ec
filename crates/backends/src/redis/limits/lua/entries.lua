-- Entries that live for a while, in small hashes instead of keys of their own: a key costs some 200 bytes beside what
-- it holds, an entry of a hash that is small enough to be stored as a list costs 5.
--
-- Entries of one time lie in one window, and a window expires as a whole: when its last entry does. Its first hash
-- holds the first entries. Once that is full, 16 more hashes follow, then 256, and so on: entries are spread over
-- them by their digests, so that none grows beyond what is quickly searched, and quickly freed. The field '' of the
-- first hash names the lowest and the highest of these levels that are in use, two bytes; without it there is but the
-- first hash. A window that follows a big one begins at a level that suits it, so that searching takes few looks.
--
-- All of it is in the slot of the keys that the caller names. Redis cannot know these names beforehand; while a
-- slot is on its way to another server, a script that looks for what is there already ends with an error.

local FULL = 128
local HIGHEST = 5
local LONGEST_VALUE = 64 -- above that Redis stores a hash in a way that takes twice the memory

local function corrupt(what)
    error({ err = 'CORRUPT ' .. what .. ' cannot be read' })
end

local function clock()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- How much this clock is ahead of the caller's. What differs by less than 2 s counts as the same: it is mostly the
-- time that the call took to get here, and times come back just as they were given.
local function ahead(now, theirs)
    local difference = now - theirs
    return math.abs(difference) < 2000 and 0 or difference
end

local function storable(time)
    return math.min(math.max(time, 0), 2 ^ 48 - 1)
end

local function bucket(first, level, digest)
    if level == 0 then
        return first
    end
    local a, b, c = string.byte(digest, 1, 3)
    return string.format('%s.%d.%x', first, level, (a * 65536 + b * 256 + c) % 16 ^ level)
end

-- Returns an entry of a window and the hash that it is in.
local function find(first, digest)
    local found = redis.call('HMGET', first, '', digest)
    if found[2] then
        return found[2], first
    end
    if found[1] then
        local low, high = string.byte(found[1], 1, 2)
        for level = math.max(low, 1), high do
            local hash = bucket(first, level, digest)
            local value = redis.call('HGET', hash, digest)
            if value then
                return value, hash
            end
        end
    end
end

local function keep(hash, time)
    if redis.call('PEXPIRETIME', hash) < time then
        redis.call('PEXPIREAT', hash, time)
    end
end

-- The hash of a window that takes a new entry.
local function room(first, before, digest)
    local levels = redis.call('HGET', first, '')
    local low, high = 0, 0
    if levels then
        low, high = string.byte(levels, 1, 2)
    elseif redis.call('EXISTS', first) == 0 then
        local earlier = redis.call('HGET', before, '')
        if earlier then
            low = math.max(string.byte(earlier, 2) - 1, 0)
            high = low
        end
    end
    local was = high
    local hash = bucket(first, low, digest)
    for level = low, HIGHEST do
        hash, high = bucket(first, level, digest), math.max(high, level)
        if redis.call('HLEN', hash) < FULL then
            break
        end
    end
    if high > was or (high > 0 and not levels) then
        redis.call('HSET', first, '', string.char(low, high))
    end
    return hash
end

-- Adds an entry to a window; `before` is the window before it. Times are rounded up to a multiple of `step`, because
-- each new time is a write to disk.
local function add(first, before, digest, value, time, step)
    local hash = room(first, before, digest)
    redis.call('HSET', hash, digest, value)
    time = math.ceil(time / step) * step
    keep(hash, time)
    if hash ~= first then
        keep(first, time)
    end
    return hash
end
