-- KEYS: where reservations lie, and automatic keys' own keys, each once
-- ARGV: for each entry its name, packed with the numbers of its keys, the message, and the answer: when, status and body
-- Only the reservation that the answer belongs to is completed.

local now = clock()

local function done(kept, message, body, answer)
    return struct.pack('>I6B', kept, DONE) .. message .. body .. answer
end

-- An automatic key, as nearly all are.
local function complete_alone(message, answer)
    local stored = redis.call('GET', own)
    if not stored then
        return
    end
    if #stored < 27 then
        corrupt('a reservation')
    end
    if string.sub(stored, 8, 27) == message and string.byte(stored, 7) ~= OWNER then
        local head = string.sub(stored, 1, 6) .. string.char(DONE)
        redis.call('SET', own, head .. message .. string.sub(stored, 28, 35) .. answer, 'KEEPTTL')
    end
end

local function complete(kind, digest, message, answer)
    local stored = look(kind, digest, now)
    if stored and stored.kind ~= OWNER and stored.message == message then
        local value = done(stored.kept, message, stored.body, answer)
        store(kind, digest, now, stored.kept, value, stored)
    end
end

for at = 1, #ARGV do
    local key, own_key, kind, digest = struct.unpack(NAME, ARGV[at])
    base, own = KEYS[key], KEYS[own_key]
    local message = string.sub(ARGV[at], NAME_LENGTH + 1, NAME_LENGTH + 20)
    local answer = string.sub(ARGV[at], NAME_LENGTH + 21)
    if kind == 'a' then
        complete_alone(message, answer)
    else
        complete(kind, digest_of(kind, digest), message, answer)
    end
end
return redis.status_reply('OK')
