-- Forgets a period. Its memory is freed in the background, so that nobody waits for it.
--
-- KEYS  those of a period: records, by endpoint, by event id, ends of payloads, texts, apart
-- Returns how many rows there were, and how many bytes.
local rows = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2])
local bytes = redis.call('HGET', KEYS[5], '') or 0
redis.call('UNLINK', unpack(KEYS))
return {rows, tonumber(bytes)}
