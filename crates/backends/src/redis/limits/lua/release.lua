-- KEYS: where reservations lie, and an automatic key's own key
-- ARGV: the name, packed

local now = clock()
local _, _, kind, padded = struct.unpack(NAME, ARGV[1])
local digest = digest_of(kind, padded)
base, own = KEYS[1], KEYS[2]
local stored = look(kind, digest, now)
if stored and stored.kind == PENDING then
    if stored.event_id ~= '' then
        local entry = look('e', stored.event_id, now)
        if entry and entry.message == stored.message then
            remove('e', stored.event_id, entry)
        end
    end
    remove(kind, digest, stored)
end
return redis.status_reply('OK')
