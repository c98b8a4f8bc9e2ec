-- Takes the version of a change and notes the intent, so that a change is told even if its writer dies.
-- ARGV: application or '', the epoch that must be ('': any, even none), the version that must have been reached,
--       a version to stay above
-- Returns how the registry stands, and the version taken or 0.

if ARGV[2] ~= '' and (epoch ~= ARGV[2] or version < tonumber(ARGV[3]) or standing()[3] ~= 0) then
  return { standing(), 0 }
end
local taken = next_version(tonumber(ARGV[4]))
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[5], now, ARGV[1] .. text(taken)) end
return { standing(), taken }
