-- Forgets a period. Its memory is freed in the background, so that nobody waits for it.
--
-- KEYS  those of a period: records, by endpoint, by event id, ends of payloads, texts, apart
-- Returns how many rows there were, and about how many bytes: by a few members of each key.
local rows = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2])
local bytes = 0
for _, key in ipairs(KEYS) do
  bytes = bytes + (redis.call('MEMORY', 'USAGE', key) or 0)
end
redis.call('UNLINK', unpack(KEYS))
return {rows, bytes}
