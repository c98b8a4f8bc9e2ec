-- KEYS: where the pair record lies, and its own key
-- ARGV: the caller's time, when the message was made, the pair's digest, the chain, until when to keep it

local now = clock()
local offset = ahead(now, tonumber(ARGV[1]))
local pair = { base = KEYS[1], own = KEYS[2], made = tonumber(ARGV[2]), digest = ARGV[3] }
local chain, kept = ARGV[4], storable(tonumber(ARGV[5]) + offset)
local stands, levels = look(pair)
local current = live(stands, now)
local opened
if not (current and current.chain == chain) then
    opened = { chain = chain, attempt = 1, state = WAITING }
end
store(pair, now, stands, levels, opened, kept)
return redis.status_reply('OK')
