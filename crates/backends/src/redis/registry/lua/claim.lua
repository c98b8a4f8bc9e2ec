-- Lists an application and claims its uid, before the application itself is written.
-- KEYS: the organisation's hash, applications in order, uids
-- ARGV: application, version, uid or '', the claim that may be taken over or '', the entry of the list or ''
-- Returns the claim that is in the way, and its age in ms; nothing where none is.

local app, version, uid = ARGV[1], ARGV[2], ARGV[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], 'here', 1)
if uid ~= '' then
  local claim = redis.call('HGET', KEYS[3], uid)
  local newest = version
  if claim then
    local last, since = string.match(string.sub(claim, 21), '^(%d+) (%d+)$')
    if string.sub(claim, 1, 20) == app then
      if tonumber(last) > tonumber(version) then newest = last end
    elseif claim ~= ARGV[4] then
      return { claim, now - since }
    end
  end
  redis.call('HSET', KEYS[3], uid, app .. newest .. ' ' .. string.format('%.0f', now))
end
if ARGV[5] ~= '' then redis.call('ZADD', KEYS[2], 0, ARGV[5]) end
return false
