-- KEYS: where reservations lie
-- ARGV: the caller's time, 'k' or 'e' for a name by key or by event id, the name's digest, the message, until when it is
-- to be leased at most

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))
local classes = ARGV[2] == 'k' and OF_KEYS or OF_EVENT_IDS
local name, message = ARGV[3], ARGV[4]
local lease = storable(tonumber(ARGV[5]) + offset)
local stored = look(name, classes, now)
if stored and stored.kind == PENDING and stored.message == message and stored.lease > lease then
    local value = pending(stored.kept, message, stored.body, lease, stored.event_id)
    store(name, classes, now, stored.kept, value, stored)
end
return redis.status_reply('OK')
