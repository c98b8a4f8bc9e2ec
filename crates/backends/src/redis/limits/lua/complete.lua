-- KEYS: where reservations lie, each once
-- ARGV: for each entry the number of its key, 'k' or 'e' for a name by key or by event id, the name's digest, the
-- message, and the answer: when, status and body
-- Only the reservation that the answer belongs to is completed.

local now = clock()
for at = 1, #ARGV, 5 do
    base = KEYS[tonumber(ARGV[at])]
    local classes = ARGV[at + 1] == 'k' and OF_KEYS or OF_EVENT_IDS
    local name, message, answer = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local stored = look(name, classes, now)
    if stored and stored.kind ~= OWNER and stored.message == message then
        local value = struct.pack('>I6B', stored.kept, DONE) .. message .. stored.body .. answer
        store(name, classes, now, stored.kept, value, stored)
    end
end
return redis.status_reply('OK')
