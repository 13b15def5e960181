-- Remove jobs that ended before a time. ARGV after the holder's: the time, how many at most.
-- Gives how many, and the blobs that none names any more.
local names = redis.call('ZRANGEBYSCORE', prefix .. 'ended', '-inf', '(' .. ARGV[3], 'LIMIT', 0, ARGV[4])
local blobs = {}
for _, name in ipairs(names) do
  local id = id_of(name)
  for _, kind in ipairs({ 'inputs_blob', 'outputs_blob' }) do
    blobs[#blobs + 1] = counted(kind, redis.call('HGET', data(id), kind), -1)
  end
  leave(id)
  redis.call('UNLINK', task(id), data(id), prefix .. 'changes:' .. id)
end
return { #names, told(blobs) }
