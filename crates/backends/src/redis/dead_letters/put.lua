-- Files letters of one application, or of none.
--
-- ARGV  letter, member of the list, time of death, chain (8 bytes, or '' for what could not be read), body; and so on
--
-- The first write of a letter needs memory: with none left it fails before anything was removed.
local function file(id, member, died_at, chain, body)
  redis.call('HSET', bodies, id, body)
  redis.call('ZADD', list, 0, member)
  redis.call('ZADD', ages, died_at, id)
  if chain ~= '' then
    local endpoint, message = string.sub(member, 30, 49), string.sub(member, 50, 69)
    redis.call('ZADD', by_endpoint, 0, endpoint .. id)
    redis.call('HSET', pairs_of, message .. endpoint, id .. chain .. died_at)
  end
end

-- Whether one number comes after another; both are eight bytes, the highest first.
local function is_after(one, other)
  for i = 1, 8 do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then
      return a > b
    end
  end
  return false
end

-- The newer chain is the one that died later. Should two have died in the same millisecond, the outcome must at least not
-- depend on which is filed first.
local function replaces(chain, died_at, filed)
  local its_chain, its_death = string.sub(filed, 21, 28), tonumber(string.sub(filed, 29))
  if chain == its_chain then
    return false
  end
  died_at = tonumber(died_at)
  return died_at > its_death or (died_at == its_death and is_after(chain, its_chain))
end

for i = 1, #ARGV, 5 do
  local id, member, died_at, chain, body = unpack(ARGV, i, i + 4)
  if redis.call('HEXISTS', bodies, id) == 0 then
    local filed = chain ~= '' and redis.call('HGET', pairs_of, string.sub(member, 50, 69) .. string.sub(member, 30, 49))
    if not filed then
      file(id, member, died_at, chain, body)
    elseif replaces(chain, died_at, filed) then
      file(id, member, died_at, chain, body)
      forget(string.sub(filed, 1, 20))
    end
  end
end
