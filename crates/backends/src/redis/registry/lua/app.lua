-- What every script in an application's slot begins with.
-- KEYS: the application's hash, the identifiers of its endpoints in order
-- Fields: v version, a record, e… endpoints, u… endpoints by uid; of what does not exist: d version of its deletion,
-- f no change below this version is taken any more.
-- Of one whose lost changes were made again: h version when that was done last, ha and h… version of the last change of
-- the application's record and of endpoints.

local app, index = KEYS[1], KEYS[2]
local version = redis.call('HGET', app, 'v')

-- Two who change at once store in the order of their versions, or the slower one takes another version.
local function outrun(by)
  for _, last in ipairs(redis.call('HMGET', app, 'v', 'd', 'f')) do
    if last and tonumber(last) >= tonumber(by) then return true end
  end
  return false
end

-- The client repeats what was under way when a connection broke, and no version is taken twice: then it was done already.
local function was_done(by) return version == by end

local function mark(what, by) redis.call('HSET', app, 'h' .. what, by) end

local function mark_if_healed(what, by)
  if redis.call('HEXISTS', app, 'h') == 1 then mark(what, by) end
end

-- An endpoint: a byte for the format, 8 bytes created_version, 2 bytes length of the uid, the uid, the record.
local function uid_of(endpoint)
  return string.sub(endpoint, 12, 11 + string.byte(endpoint, 10) * 256 + string.byte(endpoint, 11))
end

local function drop_uid(id, endpoint)
  local uid = uid_of(endpoint)
  if uid ~= '' and redis.call('HGET', app, 'u' .. uid) == id then redis.call('HDEL', app, 'u' .. uid) end
end

local function store_endpoint(id, endpoint)
  local old = redis.call('HGET', app, 'e' .. id)
  redis.call('HSET', app, 'e' .. id, endpoint)
  if old then drop_uid(id, old) end
  local uid = uid_of(endpoint)
  if uid ~= '' then redis.call('HSET', app, 'u' .. uid, id) end
  redis.call('ZADD', index, 0, id)
end

local function remove_endpoint(id)
  local old = redis.call('HGET', app, 'e' .. id)
  if not old then return end
  redis.call('HDEL', app, 'e' .. id)
  drop_uid(id, old)
  redis.call('ZREM', index, id)
end
