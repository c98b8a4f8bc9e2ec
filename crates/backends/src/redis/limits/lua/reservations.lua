-- Reservations, by idempotency key or event id.
--
--   6 bytes  until when it is kept, in milliseconds
--   1 byte   PENDING, DONE, or OWNER: an event id that belongs to a reservation by key
--   20 bytes the message
--   PENDING: 8 bytes of the body's hash, 6 bytes until when it is leased, 12 bytes the event id's digest, if any
--   DONE:    8 bytes of the body's hash, 6 bytes when it was answered, 2 bytes the status, the answer's body: without one
--            it fits into 44 bytes, which Redis keeps in one piece
--
-- A name is an automatic idempotency key ('a'), a chosen one ('c'), or an event id ('e'). There is an automatic key with
-- nearly every call: each is a key of Redis, found in one look. The others are kept for longer, in windows by the time
-- at which they were stored; what is kept for longer than its windows reach back, or is too big, has a key of its own.

local PENDING, DONE, OWNER = 0, 1, 2
local CLASSES = {
    c = { mark = 'h', length = 21600000, step = 600000 },
    e = { mark = 'd', length = 129600000, step = 3600000 },
}
local BACK = 2 -- so many windows reach back before the present one: an entry is kept for at most twice their length
local WISH = '>I2I2Bc1c16c12c20c8I6I6I6'
local NAME = '>I2I2c1c16'
local NAME_LENGTH = 21

-- Of the reservation at hand: what its windows' names begin with, and an automatic key's own key.
local base, own

local function digest_of(kind, padded)
    return string.sub(padded, 1, kind == 'c' and 16 or 12)
end

local function window(class, time, back)
    return base .. class.mark .. (math.floor(time / class.length) - back)
end

local function alone(kind, digest)
    return kind == 'a' and own or base .. 'x' .. digest
end

local function read(value, place)
    if #value < 27 then
        corrupt('a reservation')
    end
    local kept, kind, message = struct.unpack('>I6Bc20', value)
    local entry = { place = place, kept = kept, kind = kind, message = message }
    if kind == OWNER then
        return entry
    end
    if #value < (kind == PENDING and 41 or 43) then
        corrupt('a reservation')
    end
    entry.body = string.sub(value, 28, 35)
    if kind == PENDING then
        entry.lease = struct.unpack('>I6', value, 36)
        entry.event_id = string.sub(value, 42)
    else
        entry.answer = string.sub(value, 36)
    end
    return entry
end

-- What is stored under a name, expired or not: in the hash `place`, or without one in a key of its own.
local function look(kind, digest, now)
    local class = CLASSES[kind]
    for back = 0, class and BACK or -1 do
        local value, place = find(window(class, now, back), digest)
        if value then
            return read(value, place)
        end
    end
    local value = redis.call('GET', alone(kind, digest))
    return value and read(value)
end

local function remove(kind, digest, entry)
    if entry.place then
        redis.call('HDEL', entry.place, digest)
    else
        redis.call('DEL', alone(kind, digest))
    end
end

local function insert(kind, digest, now, kept, value)
    local class = CLASSES[kind]
    if class and kept - now <= class.length * BACK and #value <= LONGEST_VALUE then
        local first = window(class, now, 0)
        local levels = redis.call('HGET', first, '')
        return add(first, window(class, now, 1), digest, levels, value, kept, class.step)
    end
    redis.call('SET', alone(kind, digest), value, 'PXAT', kept)
end

-- Stores a value in the place of `entry`, which may be none. What is kept no longer than before stays where it is.
local function store(kind, digest, now, kept, value, entry)
    if entry and entry.place and entry.kept == kept and #value <= LONGEST_VALUE then
        redis.call('HSET', entry.place, digest, value)
        return
    end
    if kept <= now then
        if entry then
            remove(kind, digest, entry)
        end
        return
    end
    local place = insert(kind, digest, now, kept, value)
    if entry and entry.place ~= place then
        remove(kind, digest, entry)
    end
end

local function pending(kept, message, body, lease, event_id)
    return struct.pack('>I6B', kept, PENDING) .. message .. body .. struct.pack('>I6', lease) .. event_id
end

local function owner(kept, message)
    return struct.pack('>I6B', kept, OWNER) .. message
end
