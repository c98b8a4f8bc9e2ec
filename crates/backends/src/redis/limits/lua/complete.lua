-- KEYS: where reservations lie, and automatic keys' own keys, each once
-- ARGV: for each entry its name, packed with the numbers of its keys, the message, and the answer: when, status and body
-- Only the reservation that the answer belongs to is completed.

local now = clock()

local function complete(kind, digest, message, answer)
    local stored = look(kind, digest, now)
    if stored and stored.kind ~= OWNER and stored.message == message then
        local value = struct.pack('>I6B', stored.kept, DONE) .. message .. stored.body .. answer
        store(kind, digest, now, stored.kept, value, stored)
    end
end

for at = 1, #ARGV do
    local key, own_key, kind, digest = struct.unpack(NAME, ARGV[at])
    base, own = KEYS[key], KEYS[own_key]
    local message = string.sub(ARGV[at], NAME_LENGTH + 1, NAME_LENGTH + 20)
    local answer = string.sub(ARGV[at], NAME_LENGTH + 21)
    complete(kind, digest_of(kind, digest), message, answer)
end
return redis.status_reply('OK')
