-- Reads the members of messages.
--
-- KEYS  records
-- ARGV  '1' for members without payloads (a list of attempts shall not carry them all), then messages
-- Returns a list of members for each.
local out = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local members = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. id, '(' .. id .. '\255')
  local first = members[1]
  if ARGV[1] == '1' and first and string.byte(first, 21) == 16 then
    local m1, m2, m3, p1, p2 = string.byte(first, 23, 27)
    local meta = 27 + (m1 * 256 + m2) * 256 + m3
    local payload = p1 * 256 + p2
    members[1] = string.sub(first, 1, 21) .. '\0' .. string.sub(first, 23, 25) .. '\0\0'
      .. string.sub(first, 28, meta) .. string.sub(first, meta + payload + 1)
  end
  out[i - 1] = members
end
return out
