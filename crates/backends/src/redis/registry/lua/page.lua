-- Records in the order of their names.
-- KEYS: a hash, the names in order
-- ARGV: '1' downwards, where to start, rows, what fields begin with
-- Returns names and records, in turns.

local names
if ARGV[1] == '1' then
  names = redis.call('ZRANGE', KEYS[2], ARGV[2], '-', 'BYLEX', 'REV', 'LIMIT', 0, ARGV[3])
else
  names = redis.call('ZRANGE', KEYS[2], ARGV[2], '+', 'BYLEX', 'LIMIT', 0, ARGV[3])
end
local rows = {}
for _, name in ipairs(names) do
  rows[#rows + 1] = name
  rows[#rows + 1] = redis.call('HGET', KEYS[1], ARGV[4] .. name)
end
return rows
