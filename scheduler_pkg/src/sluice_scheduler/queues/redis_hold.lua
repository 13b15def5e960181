-- Hold the queue. ARGV: the holder, for how many milliseconds, the format it writes, a name for a queue that is new.
-- Gives the format there is, for how many milliseconds another holds it (0 where this one does), and its name.
redis.call('SET', prefix .. 'format', ARGV[3], 'NX')
redis.call('SET', prefix .. 'name', ARGV[4], 'NX')
local format, name = redis.call('GET', prefix .. 'format'), redis.call('GET', prefix .. 'name')
local holder = redis.call('GET', prefix .. 'lock')
if format ~= ARGV[3] or holder and holder ~= ARGV[1] then
  return { format, holder and redis.call('PTTL', prefix .. 'lock') or 0, name }
end
redis.call('SET', prefix .. 'lock', ARGV[1], 'PX', ARGV[2])
return { format, 0, name }
