-- Makes lost changes of an application again, decided upon as of its version. Of two who make changes of one record again
-- the later change stays: so its version is noted with the record, and by then so is that of every other change.
-- ARGV: version, the version that the decision was made upon or '',
--       the version of the change of the application's record, the record or '',
--       endpoints, each with the version of the change and the record or '' where it was deleted
-- Returns a word and, where it was done, the application's record before.

if was_done(ARGV[1]) then return { 'done', false } end
if (version or '') ~= ARGV[2] then return { 'again', false } end
if outrun(ARGV[1]) then return { 'again', false } end
local record = redis.call('HGET', app, 'a')
redis.call('HSET', app, 'v', ARGV[1], 'h', ARGV[1])
if ARGV[4] ~= '' then
  redis.call('HSET', app, 'a', ARGV[4])
  mark('a', ARGV[3])
end
redis.call('HDEL', app, 'd', 'f')
redis.call('PERSIST', app)
for n = 5, #ARGV, 3 do
  mark(ARGV[n], ARGV[n + 1])
  if ARGV[n + 2] ~= '' then
    store_endpoint(ARGV[n], ARGV[n + 2])
  else
    remove_endpoint(ARGV[n])
  end
end
return { 'done', record }
