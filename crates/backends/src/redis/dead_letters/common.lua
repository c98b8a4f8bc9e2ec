-- KEYS  bodies, list, ages, by endpoint, pairs
local bodies, list, ages, by_endpoint, pairs_of = unpack(KEYS)

-- A member of the list: letter (20 bytes), reason (1), time of death (8), and of a delivery its endpoint (20) and message (20).
local function forget(id)
  local member = redis.call('ZRANGEBYLEX', list, '[' .. id, '(' .. id .. '\255', 'LIMIT', 0, 1)[1]
  if not member then
    return 0
  end
  redis.call('ZREM', list, member)
  redis.call('ZREM', ages, id)
  redis.call('HDEL', bodies, id)
  if #member > 29 then
    local endpoint, message = string.sub(member, 30, 49), string.sub(member, 50, 69)
    redis.call('ZREM', by_endpoint, endpoint .. id)
    local filed = redis.call('HGET', pairs_of, message .. endpoint)
    if filed and string.sub(filed, 1, 20) == id then
      redis.call('HDEL', pairs_of, message .. endpoint)
    end
  end
  return 1
end
