-- KEYS: where reservations lie
-- ARGV: the caller's time, 'k' or 'e' for a name by key or by event id, the name's digest, the message, until when it
-- was to be leased

local now = clock()
local lease = storable(tonumber(ARGV[5]) + ahead(now, tonumber(ARGV[1])))
local name = ARGV[3]
local stored = look(name, ARGV[2] == 'k' and OF_KEYS or OF_EVENT_IDS, now)
if stored and stored.kind == PENDING and is_held(stored, ARGV[4], lease) then
    if stored.event_id ~= '' then
        local entry = look(stored.event_id, OF_EVENT_IDS, now)
        if entry and entry.message == stored.message then
            remove(stored.event_id, entry)
        end
    end
    remove(name, stored)
end
return redis.status_reply('OK')
