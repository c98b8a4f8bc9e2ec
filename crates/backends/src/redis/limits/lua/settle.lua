-- The table of settlements in core's `pair`.
-- KEYS: where pair records lie, and their own keys, each once
-- ARGV: the caller's time; then the settlements, packed: the attempt that ended, and the one to be stored with its state

local function stays(record, chain, attempt, state)
    local overtaken = record.attempt > attempt and state == WAITING
    return record.chain ~= chain or record.state ~= WAITING or overtaken
end

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))
for at = 2, #ARGV do
    local key, own, made, digest, chain, attempt, kept, after, state = struct.unpack('>I2I2I6c12c8I2I6I2B', ARGV[at])
    local pair = { base = KEYS[key], own = KEYS[own], made = made, digest = digest }
    local stands, levels = look(pair)
    local current = live(stands, now)
    local record
    if not (current and stays(current, chain, attempt, state)) then
        record = { chain = chain, attempt = after, state = state }
    end
    store(pair, now, stands, levels, record, storable(kept + offset))
end
return redis.status_reply('OK')
