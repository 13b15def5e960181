-- Keep jobs, each unless its id is there. ARGV after the holder's: of each job its id, how many names and values
-- follow, those, and its inputs: how they are kept and what is kept. Gives the jobs as they are now.
local jobs, at = {}, 3
while ARGV[at] do
  local id, fields = ARGV[at], tonumber(ARGV[at + 1])
  if redis.call('EXISTS', task(id)) == 0 then
    local seq = redis.call('INCR', prefix .. 'seq')
    redis.call('HSET', task(id), 'seq', seq, unpack(ARGV, at + 2, at + 1 + fields))
    local name, inputs = ARGV[at + 2 + fields], ARGV[at + 3 + fields]
    redis.call('HSET', data(id), name, inputs)
    counted(name, inputs, 1)
    enter(id)
  end
  jobs[#jobs + 1] = shown(id)
  at = at + 4 + fields
end
return told(jobs)
