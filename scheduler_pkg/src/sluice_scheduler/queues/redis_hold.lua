-- Hold the queue. ARGV: the holder, for how many milliseconds, the format it writes.
-- Gives the format there is, and for how many milliseconds another holds it; 0 where this one does.
redis.call('SET', prefix .. 'format', ARGV[3], 'NX')
local format = redis.call('GET', prefix .. 'format')
local holder = redis.call('GET', prefix .. 'lock')
if format ~= ARGV[3] or holder and holder ~= ARGV[1] then
  return { format, holder and redis.call('PTTL', prefix .. 'lock') or 0 }
end
redis.call('SET', prefix .. 'lock', ARGV[1], 'PX', ARGV[2])
return { format, 0 }
