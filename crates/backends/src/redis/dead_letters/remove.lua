-- Removes letters by name.
--
-- ARGV  letters
-- Returns how many there were.
local removed = 0
for _, id in ipairs(ARGV) do
  removed = removed + forget(id)
end
return removed
