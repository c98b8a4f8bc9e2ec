-- ARGV: version, expected version or '' where the endpoint must not exist, endpoint, uid or '', the record as a new one
-- Returns a word and, where it was done, created_version in 8 bytes.

local id, uid, endpoint = ARGV[3], ARGV[4], ARGV[5]
if not version then return { 'absent', false } end
local old = redis.call('HGET', app, 'e' .. id)
if old and was_done(ARGV[1]) then return { 'done', string.sub(old, 2, 9) } end
if old and ARGV[2] == '' then return { 'exists', false } end
if ARGV[2] ~= '' and (not old or ARGV[2] ~= version) then return { 'stale', false } end
if uid ~= '' then
  local holder = redis.call('HGET', app, 'u' .. uid)
  if holder and holder ~= id then return { 'uid', false } end
end
if outrun(ARGV[1]) then return { 'again', false } end
if old then endpoint = string.sub(endpoint, 1, 1) .. string.sub(old, 2, 9) .. string.sub(endpoint, 10) end
redis.call('HSET', app, 'v', ARGV[1])
store_endpoint(id, endpoint)
mark_if_healed(id, ARGV[1])
return { 'done', string.sub(endpoint, 2, 9) }
