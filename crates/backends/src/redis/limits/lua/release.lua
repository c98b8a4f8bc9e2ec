-- KEYS: where reservations lie
-- ARGV: 'k' or 'e' for a name by key or by event id, the name's digest

local now = clock()
local name = ARGV[2]
local stored = look(name, ARGV[1] == 'k' and OF_KEYS or OF_EVENT_IDS, now)
if stored and stored.kind == PENDING then
    if stored.event_id ~= '' then
        local entry = look(stored.event_id, OF_EVENT_IDS, now)
        if entry and entry.message == stored.message then
            remove(stored.event_id, entry)
        end
    end
    remove(name, stored)
end
return redis.status_reply('OK')
