-- Reads the members of messages, as many as can be copied in a millisecond or so: everybody else waits meanwhile.
--
-- KEYS  records
-- ARGV  '1' for members without payloads (a list of attempts shall not carry them all), where to go on in the first
--       message or '', then messages
-- Returns a list of members for each that was come to, and where to go on in the last of them, or '' where it is whole.
local ROOM = 192 * 1024
-- Members that are read at a time: they are of a few KB, in the worst case of 40.
local STEP = 4

local records, bare, from = KEYS[1], ARGV[1] == '1', ARGV[2]
local room = ROOM
-- Of the members read so far: what is to be read at a time has to fit into what is left.
local largest = 1

local function without_payload(head)
  local m1, m2, m3, p1, p2 = string.byte(head, 23, 27)
  local meta = 27 + (m1 * 256 + m2) * 256 + m3
  local payload = p1 * 256 + p2
  return string.sub(head, 1, 21) .. '\0' .. string.sub(head, 23, 25) .. '\0\0'
    .. string.sub(head, 28, meta) .. string.sub(head, meta + payload + 1)
end

-- A record may be replaced by one without its payload before the next call, so what follows it begins behind its kind.
local function behind(id, member)
  if string.byte(member, 21) == 16 then
    return '[' .. id .. '\17'
  end
  return '(' .. member
end

local function read(id, start)
  local members = {}
  repeat
    local step = math.max(1, math.min(STEP, math.floor(room / largest)))
    local some = redis.call('ZRANGEBYLEX', records, start, '(' .. id .. '\255', 'LIMIT', 0, step)
    if #some > 0 then
      start = behind(id, some[#some])
    end
    for _, member in ipairs(some) do
      room = room - #member
      largest = math.max(largest, #member)
      if bare and string.byte(member, 21) == 16 then
        member = without_payload(member)
      end
      members[#members + 1] = member
    end
    if #some < step then
      return members, ''
    end
  until room <= 0
  return members, start
end

local out = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  out[#out + 1], from = read(id, from ~= '' and from or '[' .. id)
  if room <= 0 then
    break
  end
end
return {out, from}
