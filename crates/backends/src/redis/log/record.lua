-- Stores records of one period, or of several in one slot.
--
-- For each period:
-- KEYS  records, by endpoint, by event id, ends of payloads, texts, apart
-- ARGV  '1' where the directories name this period for certain, then seven lists, each behind its length:
--       texts (hash, text), by endpoint, by event id, new records (each of these three: bytes of all its members before
--       them, a score before each member), ends (time, message), large ones (message or attempt, bytes), messages to be
--       compared with what is there (message, record or '', large payload or '', list of entries);
--       before all that, how many of these there are, so that a period that is not stored can be passed over
--
-- Each command within a script costs about 3 us, so what is most of the log takes one for all: first records of messages
-- and of attempts, for which nothing has to be looked up. Where they are repeated, the member is the same.
-- Returns for each what became of it (0 stored; 1 the directories have to name the period first; 2 hashes that are
-- taken), by how many bytes the period grew, and those hashes.
--
-- What is written first is always something that needs memory: with none left it fails before anything was removed.
local HEAD, TRAIL = '\16', '\17'
local SCORE = '0'
-- Members beyond this size do not grow.
local MEMBER_MAX = 4096
local TEXTS_MAX = 4096
-- What a member of a sorted set or a field of a hash takes, about: measured with the allocator's usual classes of sizes.
local function cost(bytes)
  return math.floor(bytes * 17 / 16) + 104
end

local records, endpoints, events, ends, texts, apart
local at, grown = 0, 0

local function take()
  at = at + 1
  return ARGV[at]
end

-- Returns the hashes that are taken, where nothing may be written for that; nothing where the period is not there, which
-- `named` says may be.
local function store_texts(named)
  local names, wanted = {}, {}
  for i = 1, tonumber(take()) do
    names[i], wanted[i] = take(), take()
  end
  names[#names + 1] = '' -- there for as long as the period is
  local there = redis.call('HMGET', texts, unpack(names))
  names[#names] = nil
  if not named and not there[#names + 1] then
    return
  end
  local new, refused = {}, {}
  if not there[#names + 1] then
    new = {'', '1'}
  end
  for i, name in ipairs(names) do
    if not there[i] then
      new[#new + 1] = name
      new[#new + 1] = wanted[i]
      grown = grown + cost(#wanted[i])
    elseif there[i] ~= wanted[i] then
      refused[#refused + 1] = name
    end
  end
  if #new > 0 and redis.call('HLEN', texts) + #new / 2 > TEXTS_MAX then
    for i = 1, #new, 2 do
      refused[#refused + 1] = new[i] ~= '' and new[i] or nil
    end
  end
  if #refused == 0 and #new > 0 then
    redis.call('HSET', texts, unpack(new))
  end
  return refused
end

-- Members that are new, in one command.
local function add(key)
  local count, bytes = tonumber(take()), tonumber(take())
  if count > 0 then
    local added = redis.call('ZADD', key, unpack(ARGV, at + 1, at + 2 * count))
    at = at + 2 * count
    grown = grown + added * cost(bytes / count)
  end
end

local function keep_apart(field, bytes)
  if redis.call('HSETNX', apart, field, bytes) == 1 then
    grown = grown + cost(#bytes)
  end
end

local function replace(old, new)
  if redis.call('ZADD', records, SCORE, new) == 1 then
    grown = grown + cost(#new)
  end
  if old then
    redis.call('ZREM', records, old)
    grown = grown - cost(#old)
  end
end

local function has_payload(flags)
  return flags % 2 == 1
end

-- What lies behind the record: earlier releases put trails there.
local function trail_of(member)
  local m1, m2, m3, p1, p2 = string.byte(member, 23, 27)
  return string.sub(member, 28 + (m1 * 256 + m2) * 256 + m3 + p1 * 256 + p2)
end

local function store(id, head, large)
  local first = redis.call('ZRANGEBYLEX', records, '[' .. id, '(' .. id .. TRAIL, 'LIMIT', 0, 1)[1]
  if first then
    -- The one that is there stands, but for its payload.
    if has_payload(string.byte(first, 22)) and not has_payload(string.byte(head, 2)) then
      replace(first, id .. head .. trail_of(first))
      local size = redis.call('HSTRLEN', apart, id)
      if redis.call('HDEL', apart, id) == 1 then
        grown = grown - cost(size)
      end
    end
    return
  end
  if large ~= '' then
    keep_apart(id, large)
  end
  replace(nil, id .. head)
end

local function append(id, entries)
  local last = redis.call('ZREVRANGEBYLEX', records, '(' .. id .. '\255', '[' .. id .. TRAIL, 'LIMIT', 0, 1)[1]
  if not last then
    return replace(nil, id .. TRAIL .. '\0\0' .. table.concat(entries))
  end
  local new = {}
  for _, entry in ipairs(entries) do
    if not string.find(last, entry, 21, true) then
      new[#new + 1] = entry
    end
  end
  if #new == 0 then
    return
  end
  local more = table.concat(new)
  if #last + #more <= MEMBER_MAX then
    return replace(last, last .. more)
  end
  local high, low = string.byte(last, 22, 23)
  local number = math.min(high * 256 + low + 1, 65535)
  replace(nil, id .. TRAIL .. string.char(math.floor(number / 256), number % 256) .. more)
end

local function store_records()
  for _ = 1, tonumber(take()) do
    local id, head, large = take(), take(), take()
    local entries = {}
    for i = 1, tonumber(take()) do
      entries[i] = take()
    end
    if head ~= '' then
      store(id, head, large)
    end
    if #entries > 0 then
      append(id, entries)
    end
  end
end

local function store_period()
  grown = 0
  -- Checked before anything is written.
  local refused = store_texts(take() == '1')
  if not refused then
    return {1, 0, {}}
  end
  if #refused > 0 then
    return {2, 0, refused}
  end
  add(endpoints)
  add(events)
  add(records)
  for _ = 1, tonumber(take()) do
    local time, id = take(), take()
    grown = grown + redis.call('ZADD', ends, time, id) * cost(#id)
  end
  for _ = 1, tonumber(take()) do
    local field, bytes = take(), take()
    keep_apart(field, bytes)
  end
  store_records()
  return {0, grown, {}}
end

local results = {}
for period = 1, #KEYS / 6 do
  records, endpoints, events, ends, texts, apart = unpack(KEYS, period * 6 - 5, period * 6)
  local next = at + 1 + tonumber(ARGV[at + 1])
  at = at + 1
  results[period] = store_period()
  at = next
end
return results
