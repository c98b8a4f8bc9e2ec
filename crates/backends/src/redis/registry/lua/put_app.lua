-- ARGV: version, expected version or '' where it must not exist, organisation, record
-- Returns a word and, where it was done, the record before.

local record = redis.call('HGET', app, 'a')
if was_done(ARGV[1]) then return { 'done', false } end
if ARGV[2] == '' then
  if version then return { 'exists', false } end
elseif not version then
  return { 'absent', false }
elseif version ~= ARGV[2] or string.sub(record, 2, 21) ~= ARGV[3] then
  return { 'stale', false }
end
if outrun(ARGV[1]) then return { 'again', false } end
redis.call('HSET', app, 'v', ARGV[1], 'a', ARGV[4])
redis.call('HDEL', app, 'd', 'f')
redis.call('PERSIST', app)
mark_if_healed('a', ARGV[1])
return { 'done', record }
