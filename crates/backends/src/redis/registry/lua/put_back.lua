-- Stores imported records of one application, decided upon as of its version.
-- ARGV: version, the version that the decision was made upon or '', the application's record or '', endpoints and their records
-- Returns a word and, where it was done, the application's record before.

if was_done(ARGV[1]) then return { 'done', false } end
if (version or '') ~= ARGV[2] then return { 'again', false } end
if outrun(ARGV[1]) then return { 'again', false } end
local record = redis.call('HGET', app, 'a')
redis.call('HSET', app, 'v', ARGV[1])
if ARGV[3] ~= '' then
  redis.call('HSET', app, 'a', ARGV[3])
  mark_if_healed('a', ARGV[1])
end
redis.call('HDEL', app, 'd', 'f')
redis.call('PERSIST', app)
for n = 4, #ARGV, 2 do
  store_endpoint(ARGV[n], ARGV[n + 1])
  mark_if_healed(ARGV[n], ARGV[1])
end
return { 'done', record }
