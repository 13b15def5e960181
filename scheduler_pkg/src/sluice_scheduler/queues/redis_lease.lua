-- Lease a lane's next job and those that were chosen to run with it, if the lane still begins as it did then.
-- ARGV after the holder's: lane, lowest priority, the caller's name for this lease, now, the lease's end, how many
-- names follow, those that the lane began with, and the places among them that were chosen; none: the first alone.
-- Gives nothing when the lane begins otherwise now, else the jobs and then the inputs of each and their blob. A lease whose
-- answer got lost is asked for again under its name and gives the same jobs.
local lane, lowest, lease, now, ends = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local names = tonumber(ARGV[8])

local function given(ids)
  local jobs, answer = {}, { '' }
  for at, id in ipairs(ids) do
    jobs[at] = shown(id)
    answer[at + 1] = redis.call('HMGET', data(id), 'inputs', 'inputs_blob')
  end
  answer[1] = told(jobs)
  return answer
end

local last = redis.call('HGET', prefix .. 'handed', lane)
last = last and cjson.decode(last)
if last and last.lease == lease then
  local held = {}
  for _, job in ipairs(last.jobs) do
    local found = redis.call('HMGET', task(job[1]), 'state', 'attempts')
    if found[1] == 'running' and found[2] == job[2] then
      held[#held + 1] = job[1]
    end
  end
  if #held > 0 then
    return given(held)
  end
end

local first = ranked(lane, lowest, math.max(names, 1))
if #first == 0 then
  return { '[]' }
end
for at = 1, names do
  if first[at] ~= ARGV[8 + at] then
    return nil
  end
end
local ids, handed = {}, {}
for at = 9 + names, #ARGV do
  ids[#ids + 1] = id_of(first[tonumber(ARGV[at])])
end
if #ids == 0 then
  ids[1] = id_of(first[1])
end
for at, id in ipairs(ids) do
  leave(id)
  local order = redis.call('INCR', prefix .. 'starts')
  local attempts = redis.call('HINCRBY', task(id), 'attempts', 1)
  redis.call('HSET', task(id), 'state', 'running', 'start_order', order, 'started_at', now, 'lease_until', ends)
  enter(id)
  handed[at] = { id, tostring(attempts) }
end
redis.call('HSET', prefix .. 'handed', lane, cjson.encode({ lease = lease, jobs = handed }))
return given(ids)
