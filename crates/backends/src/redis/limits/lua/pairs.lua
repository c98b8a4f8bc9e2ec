-- Pair records.
--
--   6 bytes until when it is kept, in milliseconds
--   2 bytes the attempt
--   1 byte  the state; 16 more where it is leased, 32 more where its chain is not the first
--   6 bytes until when it is leased, where it is
--   8 bytes the chain, where it is not the first: bytes, because a number of Lua is exact to 53 bits only
--
-- A record lies in the window of the time at which its message was made, so that one look finds it, among those that
-- are kept for minutes or among those that are kept for long.

local WAITING = 0
local LEASED_FLAG, CHAIN_FLAG = 16, 32
local FIRST_CHAIN = string.rep('\0', 8)
local MINUTES = { mark = 's', length = 300000, step = 60000 }
local LONG = { mark = 'l', length = 3600000, step = 3600000 }
local MINUTES_REACH = 600000

local function read(value)
    if #value < 9 then
        corrupt('a pair record')
    end
    local kept, attempt, flags = struct.unpack('>I6I2B', value)
    local record = { kept = kept, attempt = attempt, state = flags % 16, chain = FIRST_CHAIN }
    local leased = math.floor(flags / LEASED_FLAG) % 2 == 1
    local chained = flags >= CHAIN_FLAG
    if #value ~= 9 + (leased and 6 or 0) + (chained and 8 or 0) or record.state > 3 then
        corrupt('a pair record')
    end
    if leased then
        record.lease = struct.unpack('>I6', value, 10)
    end
    if chained then
        record.chain = string.sub(value, -8)
    end
    return record
end

local function written(record)
    local flags, lease, chain = record.state, '', ''
    if record.lease then
        flags, lease = flags + LEASED_FLAG, struct.pack('>I6', record.lease)
    end
    if record.chain ~= FIRST_CHAIN then
        flags, chain = flags + CHAIN_FLAG, record.chain
    end
    return struct.pack('>I6I2B', record.kept, record.attempt, flags) .. lease .. chain
end

-- `pair` is {base, when its message was made, digest}.
local function window(class, pair, back)
    return pair.base .. class.mark .. (math.floor(pair.made / class.length) - back)
end

-- Returns the record, if there is one, and the levels of the two windows.
local function look(pair)
    local levels = {}
    for _, class in ipairs({ MINUTES, LONG }) do
        local value, place
        value, place, levels[class] = find(window(class, pair, 0), pair.digest)
        if value then
            local record = read(value)
            record.place, record.class = place, class
            return record, levels
        end
    end
    return nil, levels
end

local function live(record, now)
    return record and record.kept > now and record
end

-- Stores `record`, or where there is none keeps the one that stands, for as long as was asked at most.
local function store(pair, now, stands, levels, record, kept)
    if stands then
        if not record and kept <= stands.kept then
            return
        end
        record = record or stands
        kept = math.max(kept, stands.kept)
    end
    record.kept = kept
    local value = written(record)
    local class = kept - now > MINUTES_REACH and LONG or MINUTES
    if stands and (stands.class == class or stands.class == LONG) then
        redis.call('HSET', stands.place, pair.digest, value)
        keep(window(stands.class, pair, 0), stands.place, kept, stands.class.step)
        return
    end
    local first = window(class, pair, 0)
    levels = levels[class] or redis.call('HGET', first, '')
    add(first, window(class, pair, 1), pair.digest, levels, value, kept, class.step)
    if stands then
        redis.call('HDEL', stands.place, pair.digest)
    end
end
