-- Entries that live for a while, in small hashes instead of keys of their own: a key costs some 200 bytes beside what
-- it holds, an entry of a hash that is small enough to be stored as a list costs 5.
--
-- Entries of one time lie in one window, and a window expires as a whole: when its last entry does. Its first hash
-- holds the first entries. Once that is full, 16 more hashes follow, then 256, and so on: entries are spread over
-- them by their digests, so that none grows beyond what is quickly searched, and quickly freed. The field '' of the
-- first hash names the lowest and the highest of these levels that are in use, two bytes; without it there is but the
-- first hash. A window that follows a big one begins at a level that suits it, so that searching takes few looks.
--
-- All of it is in the slot of the keys that the caller names. While a slot is on its way to another server, these
-- scripts are refused: the caller names keys that are never there.

local FULL, FULL_SPREAD = 128, 64 -- the first hash of a window, which small applications have alone; the others
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

-- Returns an entry of a window and the hash that it is in; and which levels there are, as they are stored.
local function find(first, digest)
    local found = redis.call('HMGET', first, '', digest)
    local levels = found[1]
    if found[2] or not levels then
        return found[2], first, levels
    end
    local low, high = string.byte(levels, 1, 2)
    for level = high, math.max(low, 1), -1 do
        local hash = bucket(first, level, digest)
        local value = redis.call('HGET', hash, digest)
        if value then
            return value, hash, levels
        end
    end
    return false, first, levels
end

-- A hash lasts as long as its last entry; the first of a window as long as all of them. Times are rounded up to a
-- multiple of `step`, because each new time is a write to disk.
local function keep(first, hash, time, step)
    time = math.ceil(time / step) * step
    if redis.call('PEXPIRETIME', hash) < time then
        redis.call('PEXPIREAT', hash, time)
        if hash ~= first and redis.call('PEXPIRETIME', first) < time then
            redis.call('PEXPIREAT', first, time)
        end
    end
end

-- The levels that a window begins with, by those of the window before.
local function beginning(before)
    local levels = redis.call('HGET', before, '')
    local low = levels and math.max(string.byte(levels, 2) - 1, 0) or 0
    return low, low
end

-- The hash of a window that takes a new entry. Entries go to the highest level that there is: what the lower ones still
-- have room for is not worth looking for.
local function room(first, before, digest, levels)
    local low, high = 0, 0
    if levels then
        low, high = string.byte(levels, 1, 2)
    elseif redis.call('HLEN', first) == 0 then
        low, high = beginning(before)
    end
    local hash, top
    for level = high, HIGHEST do
        hash, top = bucket(first, level, digest), level
        if redis.call('HLEN', hash) < (level == 0 and FULL or FULL_SPREAD) then
            break
        end
    end
    if top > high or (low > 0 and not levels) then
        redis.call('HSET', first, '', string.char(low, top))
    end
    return hash
end

-- Adds an entry to a window, of which `find` told the levels; `before` is the window before it.
local function add(first, before, digest, levels, value, time, step)
    local hash = room(first, before, digest, levels)
    redis.call('HSET', hash, digest, value)
    keep(first, hash, time, step)
    return hash
end
