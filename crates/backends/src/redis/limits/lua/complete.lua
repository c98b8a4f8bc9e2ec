-- KEYS: where reservations lie, each once
-- ARGV: for each entry its name, packed with the number of its key, the message, and the answer: when, status and body
-- Only the reservation that the answer belongs to is completed.

local now = clock()
for at = 1, #ARGV do
    local key, kind, digest = struct.unpack(NAME, ARGV[at])
    base, digest = KEYS[key], digest_of(kind, digest)
    local message = string.sub(ARGV[at], NAME_LENGTH + 1, NAME_LENGTH + 20)
    local answer = string.sub(ARGV[at], NAME_LENGTH + 21)
    local stored = look(kind, digest, now)
    if stored and stored.kind ~= OWNER and stored.message == message then
        local value = struct.pack('>I6B', stored.kept, DONE) .. message .. stored.body .. answer
        store(kind, digest, now, stored.kept, value, stored)
    end
end
return redis.status_reply('OK')
