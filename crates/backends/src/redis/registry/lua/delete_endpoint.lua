-- ARGV: version, endpoint
-- Returns a word.

if was_done(ARGV[1]) then return { 'done', false } end
if redis.call('HEXISTS', app, 'e' .. ARGV[2]) == 0 then return { version and 'nothing' or 'absent', false } end
if outrun(ARGV[1]) then return { 'again', false } end
redis.call('HSET', app, 'v', ARGV[1])
remove_endpoint(ARGV[2])
mark_if_healed(ARGV[2], ARGV[1])
return { 'done', false }
