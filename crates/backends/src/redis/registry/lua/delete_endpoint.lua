-- ARGV: version, endpoint
-- Returns a word.

local old = redis.call('HGET', app, 'e' .. ARGV[2])
if was_done(ARGV[1]) then return { 'done', false } end
if not old then return { version and 'nothing' or 'absent', false } end
if outrun(ARGV[1]) then return { 'again', false } end
redis.call('HSET', app, 'v', ARGV[1])
redis.call('HDEL', app, 'e' .. ARGV[2])
drop_uid(ARGV[2], old)
redis.call('ZREM', index, ARGV[2])
return { 'done', false }
