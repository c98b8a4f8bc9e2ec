-- Pair records.
--
--   6 bytes until when it is kept, in milliseconds
--   2 bytes the attempt
--   1 byte  the state; 16 more where it is leased, 32 more where its chain is not the first
--   6 bytes until when it is leased, where it is
--   8 bytes the chain, where it is not the first: bytes, because a number of Lua is exact to 53 bits only
--
-- Most pairs end with their first attempt and are kept for minutes: each of these records is a key of Redis. One that is
-- kept for longer lies in the window of the time at which its message was made, so that one look finds it. Where there are
-- both, that one counts: a first attempt is settled without looking for it (see `pairs.rs`).

local WAITING = 0
local LEASED_FLAG, CHAIN_FLAG = 16, 32
local FIRST_CHAIN = string.rep('\0', 8)
local LONG = { length = 3600000, step = 3600000 }
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

-- `pair` is {base of windows, its own key, when its message was made, digest}.
local function window(pair, back)
    return pair.base .. 'l' .. (math.floor(pair.made / LONG.length) - back)
end

-- Windows that are not there, as far as this call has seen.
local absent = {}

local function find_long(pair)
    local first = window(pair, 0)
    if absent[first] == nil then
        absent[first] = redis.call('EXISTS', first) == 0
    end
    if not absent[first] then
        return find(first, pair.digest)
    end
end

-- Returns the record, if there is one, with the hash that it is in (`place`) unless it has a key of its own; and the levels
-- of its window.
local function look(pair)
    local value, place, levels = find_long(pair)
    if value then
        local record = read(value)
        record.place = place
        return record, levels
    end
    value = redis.call('GET', pair.own)
    return value and read(value) or nil, levels
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
    if stands and stands.place then
        redis.call('HSET', stands.place, pair.digest, value)
        return keep(window(pair, 0), stands.place, kept, LONG.step)
    end
    if kept - now <= MINUTES_REACH then
        if kept > now then
            redis.call('SET', pair.own, value, 'PXAT', kept)
        end
        return
    end
    local first = window(pair, 0)
    levels = levels or redis.call('HGET', first, '')
    absent[first] = nil
    add(first, window(pair, 1), pair.digest, levels, value, kept, LONG.step)
    if stands then
        redis.call('DEL', pair.own)
    end
end
