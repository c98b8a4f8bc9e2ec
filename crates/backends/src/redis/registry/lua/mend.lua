-- Begins a time in which nothing is available and everybody puts back what is lost, where the version has gone back.
-- ARGV: the epoch that must be, a version that was reached, how many milliseconds it lasts
-- Returns how the registry stands.

if epoch == ARGV[1] and version < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[8], 1, 'NX', 'PX', ARGV[3])
end
return standing()
