-- The table of claims in core's `pair`.
-- KEYS: where pair records lie, and their own keys, each once
-- ARGV: the caller's time; then the claims, packed. Returns two numbers for each: the verdict, and its time or state.

local GRANTED, LEASED, FINISHED, SUPERSEDED = 0, 1, 2, 3

local function refusal(record, chain, attempt, now)
    if record.chain ~= chain then
        return SUPERSEDED, 0
    end
    if record.state ~= WAITING or record.attempt > attempt then
        return FINISHED, record.state
    end
    if record.lease and record.lease > now then
        return LEASED, record.lease
    end
end

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))
local verdicts = {}
for at = 2, #ARGV do
    local key, own, made, digest, chain, attempt, kept, lease = struct.unpack('>I2I2I6c12c8I2I6I6', ARGV[at])
    local pair = { base = KEYS[key], own = KEYS[own], made = made, digest = digest }
    local stands, levels = look(pair)
    local verdict, value = nil, 0
    if live(stands, now) then
        verdict, value = refusal(stands, chain, attempt, now)
    end
    local granted
    if not verdict then
        verdict, value = GRANTED, 0
        granted = { chain = chain, attempt = attempt, state = WAITING, lease = storable(lease + offset) }
    end
    store(pair, now, stands, levels, granted, storable(kept + offset))
    verdicts[#verdicts + 1] = verdict
    verdicts[#verdicts + 1] = verdict == LEASED and value - offset or value
end
return verdicts
