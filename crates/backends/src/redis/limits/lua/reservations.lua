-- Reservations, by idempotency key or event id.
--
--   6 bytes  until when it is kept, in milliseconds
--   1 byte   PENDING, DONE, or OWNER: an event id that belongs to a reservation by key
--   20 bytes the message
--   PENDING: 8 bytes of the body's hash, 6 bytes until when it is leased, 12 bytes the event id's digest, if any
--   DONE:    8 bytes of the body's hash, 8 bytes when it was answered, 2 bytes the status, the answer's body
--
-- Keys lie in windows by how long they are kept, event ids in windows of their own, by the time at which they were
-- stored. What is kept for longer than a class of windows reaches back, or is too big, has a key of its own ('x').

local PENDING, DONE, OWNER = 0, 1, 2
local MINUTES = { mark = 's', length = 300000, step = 60000 }
local HOURS = { mark = 'h', length = 21600000, step = 600000 }
local DAYS = { mark = 'd', length = 129600000, step = 3600000 }
local OF_KEYS, OF_EVENT_IDS = { MINUTES, HOURS }, { DAYS }
local BACK = 2 -- so many windows reach back before the present one: an entry is kept for at most twice their length

local base = KEYS[1]

local function window(class, time, back)
    return base .. class.mark .. (math.floor(time / class.length) - back)
end

local function read(value)
    if #value < 27 then
        corrupt('a reservation')
    end
    local kept, kind, message = struct.unpack('>I6Bc20', value)
    local entry = { value = value, kept = kept, kind = kind, message = message }
    if kind == OWNER then
        return entry
    end
    if #value < (kind == PENDING and 41 or 45) then
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

local function present(value, place)
    local entry = read(value)
    entry.place = place
    return entry
end

local function look_in(class, digest, now)
    for back = 0, BACK do
        local value, place = find(window(class, now, back), digest)
        if value then
            return present(value, place)
        end
    end
end

-- Whether it makes sense to look anywhere but in the first class: mostly there is nothing.
local function is_elsewhere(digest, classes, now)
    local names = { base .. 'x' .. digest }
    for at = 2, #classes do
        for back = 0, BACK do
            names[#names + 1] = window(classes[at], now, back)
        end
    end
    return redis.call('EXISTS', unpack(names)) > 0
end

-- What is stored under a name, expired or not: in the hash `place`, or without one in a key of its own.
local function look(digest, classes, now)
    local entry = look_in(classes[1], digest, now)
    if entry or not is_elsewhere(digest, classes, now) then
        return entry
    end
    for at = 2, #classes do
        entry = look_in(classes[at], digest, now)
        if entry then
            return entry
        end
    end
    local value = redis.call('GET', base .. 'x' .. digest)
    return value and present(value)
end

local function remove(digest, entry)
    if entry.place then
        redis.call('HDEL', entry.place, digest)
    else
        redis.call('DEL', base .. 'x' .. digest)
    end
end

local function insert(digest, classes, now, kept, value)
    for _, class in ipairs(classes) do
        if kept - now <= class.length * BACK and #value <= LONGEST_VALUE then
            local first = window(class, now, 0)
            local levels = redis.call('HGET', first, '')
            return add(first, window(class, now, 1), digest, levels, value, kept, class.step)
        end
    end
    redis.call('SET', base .. 'x' .. digest, value, 'PXAT', kept)
end

-- Stores a value in the place of `entry`, which may be none. What is kept no longer than before stays where it is.
local function store(digest, classes, now, kept, value, entry)
    if entry and entry.place and entry.kept == kept and #value <= LONGEST_VALUE then
        redis.call('HSET', entry.place, digest, value)
        return
    end
    if kept <= now then
        if entry then
            remove(digest, entry)
        end
        return
    end
    local place = insert(digest, classes, now, kept, value)
    if entry and entry.place ~= place then
        remove(digest, entry)
    end
end

local function pending(kept, message, body, lease, event_id)
    return struct.pack('>I6B', kept, PENDING) .. message .. body .. struct.pack('>I6', lease) .. event_id
end

local function owner(kept, message)
    return struct.pack('>I6B', kept, OWNER) .. message
end
