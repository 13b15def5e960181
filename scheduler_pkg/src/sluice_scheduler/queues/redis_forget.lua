-- Remove jobs that ended before a time. ARGV after the holder's: the time, how many at most. Gives how many.
local names = redis.call('ZRANGEBYSCORE', prefix .. 'ended', '-inf', '(' .. ARGV[3], 'LIMIT', 0, ARGV[4])
for _, name in ipairs(names) do
  local id = id_of(name)
  leave(id)
  redis.call('UNLINK', task(id), data(id), prefix .. 'changes:' .. id)
end
return #names
