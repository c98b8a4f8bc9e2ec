-- What every script in the installation's slot begins with.
-- KEYS: epoch, version, cut, changes, intents, apps, orgs, mending, stated, types

local epoch = redis.call('GET', KEYS[1])
local version = tonumber(redis.call('GET', KEYS[2]) or 0)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- How the registry stands: its epoch, its version, and whether lost changes are being put back: 0 they are not, 1 they are,
-- 2 and somebody wrote on before that began.
local function standing() return { epoch, version, tonumber(redis.call('GET', KEYS[8]) or 0) } end

local function text(number) return string.format('%.0f', number) end

-- Never below the time in 1/1024 ms: versions grow even over a loss of the counter that nobody noticed. They stay
-- exact as a double until the year 2248.
local function next_version(floor)
  version = math.max(version, floor, now * 1024 - 1) + 1
  redis.call('SET', KEYS[2], text(version))
  return version
end

-- Members of an ordered set that begin with `prefix`, which is 20 bytes long and followed by at most 20 more.
local function beginning_with(key, prefix)
  return redis.call('ZRANGE', key, '[' .. prefix, '(' .. prefix .. string.rep('\255', 21), 'BYLEX')
end

-- Whether an application is among those that exist, and whether somebody is changing it.
local function look_for(app)
  if app == '' then return 0, 0 end
  local busy = 0
  for _, intent in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
    if string.sub(intent, 1, 20) == app then busy = 1 end
  end
  return #beginning_with(KEYS[6], app), busy
end
