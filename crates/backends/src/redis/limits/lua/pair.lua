-- KEYS: where the pair record lies, and its own key
-- ARGV: the caller's time, when the message was made, the pair's digest
-- Returns nothing, or attempt, state, the chain, and until when it is leased, if it is.

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))
local stands = look({ base = KEYS[1], own = KEYS[2], made = tonumber(ARGV[2]), digest = ARGV[3] })
local record = live(stands, now)
if not record then
    return {}
end
local found = { record.attempt, record.state, record.chain }
if record.lease then
    found[4] = record.lease - offset
end
return found
