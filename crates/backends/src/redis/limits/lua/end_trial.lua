-- Ends a trial.
-- KEYS: how many have begun and were not ended
-- ARGV: 0 where none of them counts any more, 1 where those before this one do

if ARGV[1] == '0' or tonumber(redis.call('GET', KEYS[1]) or 0) <= 1 then
    redis.call('DEL', KEYS[1])
else
    redis.call('DECR', KEYS[1])
end
return redis.status_reply('OK')
