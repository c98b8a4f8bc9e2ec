-- ARGV: version, organisation, seconds that the deletion is remembered, '1' where it is remembered even of what is not there
-- Returns a word and, where it was done, the record before.

local record = redis.call('HGET', app, 'a')
local function remember()
  redis.call('HSET', app, 'd', ARGV[1])
  redis.call('EXPIRE', app, ARGV[3])
end

if not version and redis.call('HGET', app, 'd') == ARGV[1] then return { 'done', false } end
if not version then
  if ARGV[4] ~= '1' then return { 'absent', false } end
  if outrun(ARGV[1]) then return { 'again', false } end
  remember()
  return { 'done', false }
end
if string.sub(record, 2, 21) ~= ARGV[2] then return { 'foreign', false } end
if outrun(ARGV[1]) then return { 'again', false } end
-- An application may have thousands of endpoints: nobody waits for their memory.
redis.call('UNLINK', app, index)
remember()
return { 'done', record }
