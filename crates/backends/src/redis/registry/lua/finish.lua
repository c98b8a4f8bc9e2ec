-- Ends an intent: tells the change where there was one.
-- ARGV: application, version of the intent, the epoch that must be ('': any, even none),
--       the version that the application has come to ('': nothing changed),
--       '+': it exists, '-': it does not (any more), '': as before, its organisation or '',
--       channel of notices, changes that are kept, '1' where somebody else's intent is ended
-- Returns how the registry stands.

local app, reached, existence, org = ARGV[1], ARGV[4], ARGV[5], ARGV[6]
local intent = app .. ARGV[2]

-- Applications whose existence was stated, with the version it was stated of, while changes are open that may state an older one.
local function is_newer()
  local last = redis.call('ZSCORE', KEYS[9], app)
  if last and tonumber(last) > tonumber(reached) then return false end
  redis.call('ZADD', KEYS[9], reached, app)
  return true
end

local function forget_stated()
  local oldest = redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')
  if oldest[1] then
    redis.call('ZREMRANGEBYSCORE', KEYS[9], '-inf', '(' .. text(tonumber(oldest[2]) * 1024))
  else
    redis.call('DEL', KEYS[9])
  end
end

local function tell()
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

local open = redis.call('ZSCORE', KEYS[5], intent)
if reached ~= '' then
  if not open and ARGV[9] == '1' then return standing() end
  -- In another registry than it was begun in, or ended by others already: whoever comes next looks what became of it.
  if not open or (ARGV[3] ~= '' and epoch ~= ARGV[3]) then
    redis.call('ZADD', KEYS[5], 'NX', now, intent)
    return standing()
  end
  tell()
  if existence ~= '' and is_newer() then
    if existence == '+' then
      redis.call('ZADD', KEYS[6], 0, app .. org)
      redis.call('ZADD', KEYS[7], 0, org)
    else
      for _, member in ipairs(beginning_with(KEYS[6], app)) do redis.call('ZREM', KEYS[6], member) end
    end
  end
end
redis.call('ZREM', KEYS[5], intent)
forget_stated()
return standing()
