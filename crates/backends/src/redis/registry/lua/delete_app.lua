-- ARGV: version, organisation, seconds that the deletion is remembered
-- Returns a word and, where it was done, the record before.

local record = redis.call('HGET', app, 'a')
if not version then return { 'absent', false } end
if string.sub(record, 2, 21) ~= ARGV[2] then return { 'foreign', false } end
if outrun(ARGV[1]) then return { 'again', false } end
redis.call('DEL', app, index)
redis.call('HSET', app, 'd', ARGV[1])
redis.call('EXPIRE', app, ARGV[3])
return { 'done', record }
