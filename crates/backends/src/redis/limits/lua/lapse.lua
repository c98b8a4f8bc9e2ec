-- KEYS: where reservations lie, and an automatic key's own key
-- ARGV: the caller's time, the name, packed, the message, until when it is to be leased at most

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))
local _, _, kind, padded = struct.unpack(NAME, ARGV[2])
local digest, message = digest_of(kind, padded), ARGV[3]
local lease = storable(tonumber(ARGV[4]) + offset)
base, own = KEYS[1], KEYS[2]
local stored = look(kind, digest, now)
if stored and stored.kind == PENDING and stored.message == message and stored.lease > lease then
    local value = pending(stored.kept, message, stored.body, lease, stored.event_id)
    store(kind, digest, now, stored.kept, value, stored)
end
return redis.status_reply('OK')
