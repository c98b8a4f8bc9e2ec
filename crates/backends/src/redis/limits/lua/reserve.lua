-- KEYS: where reservations lie; the application's record in the registry, or in an organisation nothing
-- ARGV: the caller's time, the key's digest or '', the event id's digest or '', the candidate, 8 bytes of the body's
-- hash, until when it is to be leased, until when the key and the event id are to be kept

local FRESH, RESUME, IN_PROGRESS, ANSWERED, KEY_REUSED, EVENT_ID_TAKEN = 0, 1, 2, 3, 4, 5

local SAME_LEASE = 15000 -- core's `Reservation::SAME_LEASE`

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))
local key, event_id, candidate, body = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lease = storable(tonumber(ARGV[6]) + offset)
local key_kept = storable(tonumber(ARGV[7]) + offset)
local event_id_kept = storable(tonumber(ARGV[8]) + offset)

local by_key = key ~= ''
local name = by_key and key or event_id
local classes = by_key and OF_KEYS or OF_EVENT_IDS
local name_kept = by_key and key_kept or event_id_kept

local function version()
    return redis.call('HGET', KEYS[2], 'v') or '0'
end

local function prolong_event_id(stored)
    local entry = look(stored.event_id, OF_EVENT_IDS, now)
    if entry and entry.message == stored.message and entry.kept < event_id_kept then
        local value = owner(event_id_kept, entry.message)
        store(stored.event_id, OF_EVENT_IDS, now, event_id_kept, value, entry)
    end
end

local function resume(stored)
    local kept = math.max(stored.kept, name_kept)
    local value = pending(kept, stored.message, body, lease, stored.event_id)
    store(name, classes, now, kept, value, stored)
    if stored.event_id ~= '' then
        prolong_event_id(stored)
    end
    return { RESUME, stored.message, version() }
end

local stored = look(name, classes, now)
if stored and stored.kept > now and stored.kind ~= OWNER then
    if stored.body ~= body then
        return { KEY_REUSED }
    end
    if stored.kind == DONE then
        return { ANSWERED, stored.message, stored.answer }
    end
    if stored.lease > now then
        -- The client repeats what was under way when a connection broke: it is the first to be told.
        if stored.message == candidate and stored.lease <= lease + SAME_LEASE then
            return { FRESH, version() }
        end
        return { IN_PROGRESS, stored.lease - offset }
    end
    return resume(stored)
end

local taken = stored
if by_key then
    taken = event_id ~= '' and look(event_id, OF_EVENT_IDS, now)
end
if taken and taken.kept > now then
    return { EVENT_ID_TAKEN, taken.message }
end

store(name, classes, now, name_kept, pending(name_kept, candidate, body, lease, by_key and event_id or ''), stored)
if by_key and event_id ~= '' then
    store(event_id, OF_EVENT_IDS, now, event_id_kept, owner(event_id_kept, candidate), taken)
end
return { FRESH, version() }
