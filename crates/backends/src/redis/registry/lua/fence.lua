-- No change below a version will be taken any more: whoever is that slow begins again.
-- ARGV: version, seconds that it is remembered where there is no application
-- Returns the application's version, the version of its deletion, its record; as they were.

local before = redis.call('HMGET', app, 'v', 'd', 'a')
if not outrun(ARGV[1]) then
  redis.call('HSET', app, 'f', ARGV[1])
  if not version then redis.call('EXPIRE', app, ARGV[2]) end
end
return before
