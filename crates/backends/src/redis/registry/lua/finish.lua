-- Ends an intent: tells the change where there was one.
-- ARGV: application, version of the intent, the epoch that must be ('': any, even none),
--       the version that the application has come to ('': nothing changed),
--       '+': it exists, '-': it does not (any more), '': as before, its organisation or '',
--       channel of notices, changes that are kept
-- Returns how the registry stands.

local app, reached, existence, org = ARGV[1], ARGV[4], ARGV[5], ARGV[6]
if ARGV[3] == '' or epoch == ARGV[3] then
  if reached ~= '' then
    local position = next_version(0)
    redis.call('ZADD', KEYS[4], position, app .. reached)
    local extra = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[8])
    if extra > 0 then
      local last = redis.call('ZRANGE', KEYS[4], extra - 1, extra - 1, 'WITHSCORES')
      redis.call('SET', KEYS[3], text(tonumber(last[2])))
      redis.call('ZREMRANGEBYRANK', KEYS[4], 0, extra - 1)
    end
    redis.call('PUBLISH', ARGV[7], text(position))
  end
  if existence == '+' then
    redis.call('ZADD', KEYS[6], 0, app .. org)
    redis.call('ZADD', KEYS[7], 0, org)
  elseif existence == '-' then
    for _, member in ipairs(beginning_with(KEYS[6], app)) do redis.call('ZREM', KEYS[6], member) end
  end
end
redis.call('ZREM', KEYS[5], app .. ARGV[2])
return standing()
