-- Ends a time in which the registry counted as lost or behind: the version is above any before, all changes are cut off.
-- ARGV: the epoch that must be, or '' where the next one begins; a version to stay above; the next epoch or '' to keep it;
--       '1' where an epoch that is there is left alone; channel of notices
-- Returns how the registry stands, and 1 where it was done.

if (ARGV[1] ~= '' and epoch ~= ARGV[1]) or (ARGV[4] == '1' and epoch) then
  return { standing(), 0 }
end
next_version(tonumber(ARGV[2]))
redis.call('SET', KEYS[3], text(version))
if ARGV[3] ~= '' then
  epoch = ARGV[3]
  redis.call('SET', KEYS[1], epoch)
end
redis.call('DEL', KEYS[4], KEYS[8])
redis.call('PUBLISH', ARGV[5], text(version))
return { standing(), 1 }
