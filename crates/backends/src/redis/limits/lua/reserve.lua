-- KEYS: where reservations lie, and automatic keys' own keys, each once
-- ARGV: the caller's time; then the wishes, packed: the numbers of its two keys, whether it has an event id besides, the kind
-- and the digest of its name, the event id's digest, the candidate, 8 bytes of the body's hash, until when it is to be leased,
-- until when the key and the event id are to be kept. Returns for each what was found.

local FRESH, RESUME, IN_PROGRESS, ANSWERED, KEY_REUSED, EVENT_ID_TAKEN, UNREADABLE = 0, 1, 2, 3, 4, 5, 6

local SAME_LEASE = 15000 -- core's `Reservation::SAME_LEASE`

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))

local function prolong_event_id(stored, until_when)
    local entry = look('e', stored.event_id, now)
    if entry and entry.message == stored.message and entry.kept < until_when then
        store('e', stored.event_id, now, until_when, owner(until_when, entry.message), entry)
    end
end

local function resume(wish, stored)
    local kept = math.max(stored.kept, wish.kept)
    local value = pending(kept, stored.message, wish.body, wish.lease, stored.event_id)
    store(wish.kind, wish.digest, now, kept, value, stored)
    if stored.event_id ~= '' then
        prolong_event_id(stored, wish.event_id_kept)
    end
    return { RESUME, stored.message }
end

local function found(wish, stored)
    if stored.body ~= wish.body then
        return { KEY_REUSED }
    end
    if stored.kind == DONE then
        return { ANSWERED, stored.message, stored.answer }
    end
    if stored.lease <= now then
        return resume(wish, stored)
    end
    -- The client repeats what was under way when a connection broke: it is the first to be told.
    if stored.message == wish.candidate and stored.lease <= wish.lease + SAME_LEASE then
        return { FRESH }
    end
    return { IN_PROGRESS, stored.lease - offset }
end

local function reserve(wish)
    local stored = look(wish.kind, wish.digest, now)
    if stored and stored.kept > now and stored.kind ~= OWNER then
        return found(wish, stored)
    end
    local taken = stored
    if wish.kind ~= 'e' then
        taken = wish.owned ~= '' and look('e', wish.owned, now)
    end
    if taken and taken.kept > now then
        return { EVENT_ID_TAKEN, taken.message }
    end
    local value = pending(wish.kept, wish.candidate, wish.body, wish.lease, wish.owned)
    store(wish.kind, wish.digest, now, wish.kept, value, stored)
    if wish.owned ~= '' then
        store('e', wish.owned, now, wish.event_id_kept, owner(wish.event_id_kept, wish.candidate), taken)
    end
    return { FRESH }
end

local function unpacked(packed)
    local key, own_key, has_event_id, kind, digest, event_id, candidate, body, lease, key_kept, event_id_kept =
        struct.unpack(WISH, packed)
    base, own = KEYS[key], KEYS[own_key]
    event_id_kept = storable(event_id_kept + offset)
    return {
        kind = kind,
        digest = digest_of(kind, digest),
        owned = has_event_id == 1 and event_id or '',
        candidate = candidate,
        body = body,
        lease = storable(lease + offset),
        kept = kind == 'e' and event_id_kept or storable(key_kept + offset),
        event_id_kept = event_id_kept,
    }
end

local answers = {}
for at = 2, #ARGV do
    local succeeded, answer = pcall(reserve, unpacked(ARGV[at]))
    if not succeeded then
        -- What cannot be read is the trouble of whoever asked for it. Redis makes text of an error that is caught.
        local cause = type(answer) == 'table' and answer.err or answer
        if not string.find(cause, 'CORRUPT', 1, true) then
            error({ err = cause })
        end
        answer = { UNREADABLE }
    end
    answers[at - 1] = answer
end
return answers
