-- Gives up an application's claim to a uid, unless a later change has made it anew; and its entries in the list.
-- KEYS: the organisation's hash, applications in order, uids
-- ARGV: application, uid or '', lowest and highest version of a claim that is given up,
--       first and last entry of the list that is removed, or ''

local app, uid = ARGV[1], ARGV[2]
local claim = uid ~= '' and redis.call('HGET', KEYS[3], uid)
if claim and string.sub(claim, 1, 20) == app then
  local version = string.match(string.sub(claim, 21), '^(%d+) ')
  if tonumber(version) >= tonumber(ARGV[3]) and tonumber(version) <= tonumber(ARGV[4]) then
    redis.call('HDEL', KEYS[3], uid)
  end
end
if ARGV[5] ~= '' then
  for _, entry in ipairs(redis.call('ZRANGE', KEYS[2], '[' .. ARGV[5], '[' .. ARGV[6], 'BYLEX')) do
    redis.call('ZREM', KEYS[2], entry)
  end
end
return 1
